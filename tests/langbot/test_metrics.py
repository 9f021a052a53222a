import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from langbot import metrics, metrics_runs
from langbot.core.tokens import create_api_token
from langbot.metrics_runs import RunsSeen
from langbot.metrics_state import deliveries_by_status, live_runs, waiting_messages
from runners.admission import Incoming, admit
from runners.models import AgentRun, EventLog, WorkerNode
from tests.support import ledger


@pytest.fixture
def start(workspace, agent):
    def start(conversation=""):
        incoming = Incoming(
            workspace=workspace,
            source="api:test",
            event_id=f"event-{EventLog.objects.count()}",
            type="message.received",
            trigger_source="api",
            agent=agent,
            external_conversation=conversation,
            input={"text": "hello"},
        )
        return admit(incoming).run

    return start


@pytest.fixture
def staff(user, workspace):
    """A client with a token of a member of the staff."""
    user.is_staff = True
    user.save()
    _, token = create_api_token(user, workspace, "prometheus")
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def look(staff, monkeypatch):
    """Return the metrics by name and labels."""
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    # Runs of earlier tests have had the numbers that come again here.
    monkeypatch.setattr(metrics.STATE, "_runs", RunsSeen())

    def look():
        answer = staff.get("/metrics")
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/plain")
        lines = answer.content.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        return {name: float(value) for name, value in pairs}

    return look


def ended(found, status):
    return found[f'langbot_runs_ended_total{{status="{status}"}}']


def test_metrics_tell_what_is_there(look, start):
    WorkerNode.objects.create(name="a", started_at=Now(), heartbeat_at=Now())
    before = look()
    running, queued = start("room"), start()
    assert start("room") is None  # waits
    now = look()
    assert now["langbot_database_up"] == 1
    assert now["langbot_workers_alive"] == 1
    assert now['langbot_live_runs{status="queued"}'] == 2
    assert now["langbot_queued_messages"] == 1
    ledger.complete(ledger.begin(running))
    ledger.fail(ledger.begin(queued))
    after = look()
    for status in ("completed", "failed"):
        assert ended(after, status) == ended(before, status) + 1
    count = "langbot_run_duration_seconds_count"
    assert after[count] == before[count] + 2
    assert after['langbot_live_runs{status="queued"}'] == 1  # the promoted message
    assert after["langbot_queued_messages"] == 0


def test_requests_are_counted_by_route_and_not_by_id(look, client):
    ids = (
        "01920000-0000-7000-8000-000000000000",
        "01920000-0000-7000-8000-000000000001",
    )
    route = 'method="GET",route="api/v1/runs/<uuid:id>/"'
    counter = f'langbot_http_requests_total{{{route},status="401"}}'
    before = look().get(counter, 0)
    for run_id in ids:
        client.get(f"/api/v1/runs/{run_id}/")
    client.generic("BREW", "/nowhere")
    found = look()
    assert found[counter] == before + 2
    assert not any(run_id in name for name in found for run_id in ids)
    assert f"langbot_http_request_seconds_count{{{route}}}" in found
    other = 'method="other",route="unmatched",status="404"'
    assert found[f"langbot_http_requests_total{{{other}}}"] >= 1


def test_only_staff_and_allowed_addresses_may_scrape(user, client, staff, settings):
    assert client.get("/metrics").status_code == 401
    client.force_login(user)
    user.is_staff = False
    user.save()
    assert client.get("/metrics").status_code == 403
    user.is_staff = True
    user.save()
    assert client.get("/metrics").status_code == 200
    given = dict(settings.LANGBOT)
    settings.LANGBOT = {**given, "METRICS_ALLOW": ["10.0.0.0/8", "::1"]}
    for address, status in (("10.1.2.3", 200), ("::1", 200), ("11.1.2.3", 401)):
        answer = Client(REMOTE_ADDR=address).get("/metrics")
        assert answer.status_code == status
    forged = Client(REMOTE_ADDR="").get(
        "/metrics", headers={"X-Forwarded-For": "10.1.2.3"}
    )
    assert forged.status_code == 401


def test_scrapes_close_together_share_one_look(staff):
    staff.get("/metrics")
    with CaptureQueriesContext(connection) as queries:
        staff.get("/metrics")
    assert not any("agentrun" in one["sql"] for one in queries.captured_queries)


def test_more_runs_cost_a_look_no_more_questions(look, start):
    def measured():
        ledger.complete(ledger.begin(start()))
        with CaptureQueriesContext(connection) as queries:
            look()
        return len(queries)

    look()
    few = measured()
    for _ in range(20):
        ledger.complete(ledger.begin(start()))
    assert measured() == few


@pytest.mark.django_db
def test_without_rows_everything_is_zero():
    assert set(live_runs().values()) == {0}
    assert set(deliveries_by_status().values()) == {0}
    assert waiting_messages() == 0


def totals(seen):
    names = re.compile("_total$|_sum$|_count$|_bucket$")
    samples = [sample for family in seen.look() for sample in family.samples]
    return {
        (sample.name, *sample.labels.values()): sample.value
        for sample in samples
        if names.search(sample.name)
    }


def test_runs_are_counted_once_when_they_end(start):
    old = start()
    seen = RunsSeen()
    totals(seen)
    runs = [start() for _ in range(3)]
    totals(seen)
    begun = datetime.now(UTC) - timedelta(seconds=20)
    AgentRun.objects.filter(pk=runs[0].pk).update(created_at=begun)
    for run in (old, *runs[:2]):
        ledger.complete(ledger.begin(run))
    for _ in range(2):
        found = totals(seen)
        assert found["langbot_runs_ended_total", "completed"] == 3
        assert found["langbot_run_duration_seconds_bucket", "3.0"] == 2
        assert found["langbot_run_duration_seconds_bucket", "30.0"] == 3
        assert found["langbot_run_duration_seconds_bucket", "+Inf"] == 3
        assert 20 <= found["langbot_run_duration_seconds_sum",] < 25


def test_a_run_that_was_committed_late_is_counted(start):
    run = start()
    seen = RunsSeen()
    totals(seen)

    def commit(number):
        AgentRun.objects.create(
            pk=run.pk + number,
            attempt=1 + number,
            workspace=run.workspace,
            conversation=run.conversation,
            event=run.event,
            agent=run.agent,
            status="completed",
            finished_at=datetime.now(UTC),
        )

    commit(3)
    assert totals(seen)["langbot_runs_ended_total", "completed"] == 1
    commit(1)
    for _ in range(2):
        assert totals(seen)["langbot_runs_ended_total", "completed"] == 2


def test_numbers_that_nobody_uses_are_forgotten(start, monkeypatch):
    monkeypatch.setattr(metrics_runs, "GAP_SECONDS", 0.0)
    run = start()
    seen = RunsSeen()
    totals(seen)
    seen._gaps[run.pk + 1] = 0.0
    totals(seen)
    assert seen._gaps == {}
