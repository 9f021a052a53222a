"""Exported rows: complete, bounded in memory, safe to open in a spreadsheet."""

import csv
import io
import json
import tracemalloc

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from langbot.core.models import AuditLog
from runners.admin import exports
from runners.admin.exports import Column, csv_parts, json_parts, pages_of
from runners.models import AgentRun, EventLog
from tests.factories import AgentFactory, WorkspaceFactory
from tests.runners.admin_rows import make_run

RUNS = "admin:langbot_runners_agentrun_changelist"
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def exported(client, page, action, rows, **more):
    act = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    response = client.post(reverse(page), act)
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("attachment")
    return b"".join(response).decode()


def test_csv_holds_the_chosen_runs_newest_first(staff, agent, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 2)
    runs = [make_run(agent, labels=["bug", "要看"]) for _ in range(5)]
    make_run(agent)
    text = exported(staff, RUNS, "export_csv", runs)
    assert text.startswith("\ufeffid,")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["id"] for row in rows] == [str(run.public_id) for run in runs[::-1]]
    assert rows[0]["labels"] == '["bug", "要看"]'
    assert rows[0]["agent"] == agent.slug
    entry = AuditLog.objects.get(action="exported")
    assert entry.after is not None
    assert entry.after["model"] == "langbot_runners.agentrun"


def test_json_is_one_list_even_of_nothing(staff, agent, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 2)
    runs = [make_run(agent) for _ in range(3)]
    found = json.loads(exported(staff, RUNS, "export_json", runs))
    assert [one["status"] for one in found] == ["completed"] * 3
    assert json.loads("".join(json_parts([], []))) == []


@pytest.mark.parametrize("page", ["eventlog", "delivery"])
def test_other_records_are_exported_too(staff, agent, page):
    from datetime import UTC, datetime
    from uuid import uuid4

    from runners.models import Delivery

    run = make_run(agent)
    delivery = Delivery.objects.create(
        workspace=agent.workspace,
        run=run,
        conversation=run.conversation,
        bot_id=uuid4(),
        target="c|",
        payload={"text": "hidden"},
        next_attempt_at=datetime.now(UTC),
    )
    row = delivery if page == "delivery" else run.event
    name = f"admin:langbot_runners_{page}_changelist"
    found = json.loads(exported(staff, name, "export_json", [row]))
    assert found[0]["id"] == str(row.public_id)
    assert "hidden" not in str(found)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-x", "'-x"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        (-5, "-5"),
        ("a,b", "a,b"),
        (None, ""),
        (["=x"], '["=x"]'),
    ],
)
def test_no_cell_is_a_formula(value, cell):
    text = "".join(csv_parts([[value]], [Column("it", lambda row: row)]))
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows[1] == [cell]


def test_all_pages_are_exported_with_the_filter_of_the_list(staff, agent):
    runs = [make_run(agent) for _ in range(3)]
    failed = make_run(agent, status="failed")
    act = {
        "action": "export_json",
        "_selected_action": [runs[0].pk],
        "select_across": "1",
    }
    url = reverse(RUNS) + "?status__exact=failed"
    response = staff.post(url, {**act, "_selected_action": [failed.pk]})
    found = json.loads(b"".join(response))
    assert [one["id"] for one in found] == [str(failed.public_id)]


def test_cost_and_other_workspaces_stay_out(client, agent):
    run = make_run(agent, cost_microdollars=1_234_567)
    strange = make_run(AgentFactory.create(workspace=WorkspaceFactory.create()))
    person = get_user_model().objects.create_user("rita", is_staff=True)
    rights = Permission.objects.filter(codename__in=["view_agentrun"])
    person.user_permissions.set(rights)
    agent.workspace.memberships.create(user=person)
    client.force_login(person)
    text = exported(client, RUNS, "export_json", [run, strange], select_across="1")
    assert str(strange.public_id) not in text
    assert "cost_microdollars" not in text
    person.user_permissions.add(Permission.objects.get(codename="view_cost"))
    text = exported(client, RUNS, "export_json", [run])
    assert json.loads(text)[0]["cost_microdollars"] == 1_234_567


def test_a_page_is_one_query_and_memory_stays_at_one_page(agent):
    run = make_run(agent)
    event = run.event
    EventLog.objects.bulk_create(
        EventLog(
            workspace=agent.workspace,
            source="user:1",
            event_id=str(number),
            type="x",
            time=event.time,
            input={"text": "x" * 2000},
            trigger_source="api",
            outcome="recorded",
        )
        for number in range(4 * exports.PAGE)
    )
    tracemalloc.start()
    with CaptureQueriesContext(connection) as queries:
        sizes = [len(page) for page in pages_of(EventLog.objects.all())]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == 4 * exports.PAGE + 1
    assert len(queries) == len(sizes) + 1
    assert peak < 2.5 * exports.PAGE * 8000  # of 16 MB in all
    assert AgentRun.objects.count() == 1
