"""Lists and pages of a large ledger: few queries, by index, and fast.

`make large` measures the real thing, a million rows, on the database of `DATABASE_URL`
and prints a line for each page; without it the ledger has 10,000 rows and only the
queries are judged. The tables of docs/benchmarks.md come from there.
"""

import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client

from langbot.core.tokens import create_api_token
from tests.support.large_ledger import multiply
from tests.support.large_pages import admin_pages, rest_pages

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
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.django_db(transaction=IS_LARGE),
]


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
    seconds, computing = typical(client, address) if IS_LARGE else (0.0, 0.0)
    wrong = []
    if len(found) > MOST_QUERIES:
        wrong.append(f"{len(found)} queries")
    # The processor's time too: others may have been at work meanwhile.
    if seconds > MOST_SECONDS < computing:
        wrong.append(f"{seconds * 1000:.0f} ms, {computing * 1000:.0f} of a processor")
    for sql, params in found if by_index else []:
        line = sql.startswith("SELECT") and reads_a_whole_table(plan_of(sql, params))
        if line:
            wrong.append(f"{line}: {sql[:60]} … {sql[-200:]}")
    return len(found), (seconds, computing), wrong


def typical(client, address):
    """Return the medians of five times of a page that was opened before.

    The second is that of the processors, of the database's as well: what the page
    takes on an idle machine.
    """
    times = []
    for _ in range(5):
        begun, computed = time.perf_counter(), computing_seconds()
        client.get(address)
        passed = time.perf_counter() - begun
        times.append((passed, computing_seconds() - computed))
    return median(passed for passed, _ in times), median(used for _, used in times)


def computing_seconds():
    """Return the processor time of this process and of its database connection's."""
    seconds = time.process_time()
    if connection.vendor == "postgresql":
        pid = connection.connection.info.backend_pid
        spent = Path(f"/proc/{pid}/schedstat")  # nanoseconds, on this machine only
        seconds += int(spent.read_text().split()[0]) / 1e9 if spent.exists() else 0
    return seconds


@pytest.fixture
def ledger():
    begun = time.perf_counter()
    ledger = multiply(ROWS)
    if IS_LARGE:
        say(f"loaded in {time.perf_counter() - begun:.0f} s")
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A table this small is read as a whole for good reason; ask what could be.
            cursor.execute("SET LOCAL enable_seqscan = off")
    return ledger


def test_lists_and_pages_of_a_large_ledger(ledger):
    problems = []
    for name, person in people(ledger).items():
        client = Client()
        client.force_login(person)
        pages = admin_pages(ledger)
        if name == "small":  # not theirs, and not so many
            pages = [
                one for one in pages if "/change/" not in one[0] and "p=2" not in one[0]
            ]
        problems += problems_of(client, name, pages)
        if name == "default":
            _, token = create_api_token(person, ledger.workspace, "large")
            caller = Client(HTTP_AUTHORIZATION=f"Bearer {token}")
            problems += problems_of(caller, "rest", rest_pages(ledger))
    assert not problems, "\n".join(problems)


def problems_of(client, name, pages):
    problems = []
    for address, by_index in pages:
        queries, seconds, wrong = look_at(client, address, by_index=by_index)
        if IS_LARGE:
            wall, computing = (round(one * 1000) for one in seconds)
            say(f"{name:8} {queries:3} {wall:5} ms {computing:5} ms  {address}")
        problems += [f"{name} {address}: {one}" for one in wrong]
    return problems


def say(line):
    sys.stderr.write(f"{line}\n")


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
