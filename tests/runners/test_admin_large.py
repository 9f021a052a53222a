"""Lists and pages of a large ledger: few queries, by index, and fast.

`LANGBOT_LARGE_ROWS=1000000 pytest tests/runners/test_admin_large.py -s` measures the
real thing on the database of `DATABASE_URL`; without it the ledger has 10,000 rows and
only the queries are judged.
"""

import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.urls import reverse

from tests.support.large_ledger import multiply

ROWS = int(os.environ.get("LANGBOT_LARGE_ROWS", "10000"))
IS_LARGE = ROWS >= 1_000_000
MOST_QUERIES = 15
MOST_SECONDS = 0.3
BIG = (
    "langbot_runners_agentrun",
    "langbot_runners_eventlog",
    "langbot_runners_runevent",
    "langbot_runners_delivery",
    "langbot_runners_transcriptitem",
    "langbot_runners_conversation",
)

# A million rows are committed: inside one transaction SQLite would look for every page
# in a log of gigabytes.
pytestmark = [
    pytest.mark.django_db(transaction=IS_LARGE),
    pytest.mark.timeout(3600),
]


def addresses(ledger):
    """Return (address, whether every query of it has to go by an index)."""

    def listed(model, **given):
        url = reverse(f"admin:langbot_runners_{model}_changelist")
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return f"{url}?{query}"

    run = ledger.run(1)
    pages = [
        (reverse("admin:langbot_agents_agent_changelist"), False),
        (listed("agentrun"), False),
        (listed("agentrun", p=200), False),
        (listed("agentrun", status__exact="completed"), False),
        # Half of all runs: however they are read, the first 10,000 are soon counted.
        (listed("agentrun", agent__id__exact=ledger.agents[0]), False),
        (listed("eventlog"), False),
        (listed("eventlog", outcome__exact="started"), False),
        (listed("delivery"), False),
        (listed("conversation"), False),
    ]
    rare = ("failed", "timeout", "cancelled", "running", "queued", "created")
    narrowed = [
        *(listed("agentrun", status__exact=status) for status in rare),
        listed("agentrun", agent__id__exact=ledger.agents[501]),
        listed("agentrun", agent__id__exact=ledger.agents[500], status__exact="failed"),
        listed("agentrun", bot_id__exact=ledger.bot.public_id),
        listed("agentrun", period="hour"),
        listed("agentrun", period="month", status__exact="failed"),
        listed("agentrun", label="bug"),
        listed("agentrun", q=run.public_id),
        listed("agentrun", q=run.event.public_id),
        listed("agentrun", q=run.event.event_id),
        listed("agentrun", q=run.conversation.public_id),
        listed("agentrun", q="large-message-77"),
        listed("agentrun", q="runner.error"),
        listed("agentrun", q="nothing"),
        listed("eventlog", q=run.event.event_id),
        listed("eventlog", q="nothing"),
        listed("eventlog", outcome__exact="ignored"),
        listed("eventlog", outcome__exact="queued"),
        listed("eventlog", bot_id__exact=ledger.bot.public_id),
        listed("delivery", status__exact="failed"),
        listed("delivery", status__exact="uncertain"),
        listed("delivery", q="large-message-77"),
        listed("conversation", q="large-room-7"),
        listed("conversation", kind__exact="sub"),
        reverse("admin:langbot_runners_agentrun_change", args=[run.pk]),
        reverse("admin:langbot_runners_eventlog_change", args=[run.event_id]),
        reverse(
            "admin:langbot_runners_conversation_change", args=[run.conversation_id]
        ),
    ]
    return pages + [(address, True) for address in narrowed]


@contextmanager
def statements():
    """Collect (sql, parameters) as the database gets them, parameters apart."""
    found = []

    def note(execute, sql, params, many, context):
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def plan_of(sql, params):
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        cursor.execute(explain + sql, params)
        return [str(row[-1]) for row in cursor.fetchall()]


def reads_a_whole_table(plan):
    """Return the line of a plan that goes through all rows of a big table, if any."""
    tables = "|".join(BIG)
    if connection.vendor == "sqlite":
        # `SCAN x USING INDEX` is a walk along an index, as of a partial one; with the
        # workspace alone it is a walk along all that a large workspace has.
        whole = re.compile(rf"SCAN ({tables})$|({tables}) .*\\(workspace_id=\\?\\)$")
    else:
        whole = re.compile(rf"Seq Scan on ({tables})\b")
    return next((line for line in plan if whole.search(line)), None)


def look_at(client, address, *, by_index):
    """Return (queries, (seconds, seconds on a processor), what is wrong) of a page."""
    with statements() as found:
        assert client.get(address).status_code == 200, address
    seconds, computing = fastest(client, address) if IS_LARGE else (0.0, 0.0)
    wrong = []
    if len(found) > MOST_QUERIES:
        wrong.append(f"{len(found)} queries")
    if seconds > MOST_SECONDS:
        wrong.append(f"{seconds * 1000:.0f} ms")
    for sql, params in found if by_index else []:
        line = sql.startswith("SELECT") and reads_a_whole_table(plan_of(sql, params))
        if line:
            wrong.append(f"{line}: {sql[:60]} … {sql[-200:]}")
    return len(found), (seconds, computing), wrong


def fastest(client, address):
    """Return the least of some times: other processes only ever add to it.

    The second is that of the processors, of the database's as well: what the page
    takes on an idle machine.
    """
    times = []
    for _ in range(4):
        begun, computed = time.perf_counter(), computing_seconds()
        client.get(address)
        passed = time.perf_counter() - begun
        times.append((passed, computing_seconds() - computed))
    return min(passed for passed, _ in times), min(computed for _, computed in times)


def computing_seconds():
    """Return the processor time of this process and of its database connection's."""
    seconds = time.process_time()
    if connection.vendor == "postgresql":
        pid = connection.connection.info.backend_pid
        spent = Path(f"/proc/{pid}/schedstat")  # nanoseconds, on this machine only
        seconds += int(spent.read_text().split()[0]) / 1e9 if spent.exists() else 0
    return seconds


def test_lists_and_pages_of_a_large_ledger(client):
    ledger = multiply(ROWS)
    if connection.vendor == "postgresql" and not IS_LARGE:
        with connection.cursor() as cursor:
            # A table this small is read as a whole for good reason; ask what could be.
            cursor.execute("SET LOCAL enable_seqscan = off")
    problems = []
    for name, person in people(ledger).items():
        client.force_login(person)
        for address, by_index in addresses(ledger):
            if name == "small" and ("/change/" in address or "p=200" in address):
                continue  # not theirs, and not so many
            queries, seconds, wrong = look_at(client, address, by_index=by_index)
            if IS_LARGE:
                wall, computing = (round(one * 1000) for one in seconds)
                line = f"{name:8} {queries:3} {wall:5} ms {computing:5} ms  {address}\n"
                sys.stderr.write(line)
            problems += [f"{name} {address}: {one}" for one in wrong]
    assert not problems, "\n".join(problems)


def people(ledger):
    """Return who looks: the owner of everything, and members of a workspace each."""
    users = get_user_model().objects
    found = {"root": users.create_superuser("root", password="x")}
    for workspace in (
        (ledger.workspace, ledger.small) if IS_LARGE else (ledger.workspace,)
    ):
        person = users.create_user(f"of-{workspace.slug}", is_staff=True)
        rights = Permission.objects.filter(codename__startswith="view")
        person.user_permissions.set(rights)
        workspace.memberships.create(user=person)
        found[workspace.slug] = person
    return found
