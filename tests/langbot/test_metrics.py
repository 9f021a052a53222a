import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from langbot import metrics, metrics_runs
from langbot.core.tokens import create_api_token
from langbot.metrics_runs import RunsSeen
from langbot.metrics_state import deliveries_by_status, live_runs, waiting_messages
from runners.admission import Incoming, admit
from runners.models import AgentRun, EventLog, WorkerNode
from tests.support import ledger
from tests.support.rest import admin_client_of, client_of


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


def scraper(user, workspace, *scopes):
    """Return a client with a token of those scopes; none means all."""
    _, token = create_api_token(user, workspace, "prometheus", scopes=scopes)
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def prometheus(user, workspace):
    """A client with a token that may do nothing but this."""
    return scraper(user, workspace, "metrics")


@pytest.fixture
def look(prometheus, monkeypatch):
    """Return the metrics by name and labels."""
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    # Runs of earlier tests have had the numbers that come again here.
    monkeypatch.setattr(metrics.STATE, "_runs", RunsSeen())

    def look():
        answer = prometheus.get("/metrics")
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


@pytest.mark.parametrize("is_superuser", [False, True])
def test_who_looks_after_the_installation_sees_its_totals(
    user, workspace, client, is_superuser
):
    """They tell of every workspace, so being staff of one is not enough."""
    assert client.get("/metrics").status_code == 401
    user.is_staff, user.is_superuser = True, is_superuser
    user.save()
    client.force_login(user)
    status = 200 if is_superuser else 403
    assert client.get("/metrics").status_code == status
    assert scraper(user, workspace).get("/metrics").status_code == status


@pytest.mark.parametrize("scopes", [["read"], ["read", "write"], ["metrics"]])
def test_a_token_with_scopes_needs_the_one_for_metrics(user, workspace, scopes):
    user.is_superuser = True
    user.save()
    status = 200 if "metrics" in scopes else 403
    assert scraper(user, workspace, *scopes).get("/metrics").status_code == status


def test_a_token_for_metrics_opens_nothing_else(prometheus):
    for url in ("/api/v1/agents/", "/api/v1/runs/", "/v1/models"):
        assert prometheus.get(url).status_code == 403


def test_only_a_superuser_makes_a_token_for_metrics(user, workspace, api_client):
    body = {"label": "prometheus", "scopes": ["metrics"]}
    refused = api_client.post("/api/v1/tokens/", body, format="json")
    assert refused.status_code == 400
    assert "scopes" in refused.json()["errors"]
    boss = admin_client_of(workspace)
    made = boss.post("/api/v1/tokens/", body, format="json")
    assert made.status_code == 201, made.content
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    assert Client(headers=headers).get("/metrics").status_code == 200
    given = client_of(user, workspace, scopes=["read", "write"])
    assert given.post("/api/v1/tokens/", body, format="json").status_code == 400


@pytest.mark.parametrize("is_superuser", [False, True])
def test_the_admin_knows_the_scopes(user, workspace, client, is_superuser):
    user.is_staff, user.is_superuser = True, is_superuser
    user.save()
    workspace.memberships.update(role="admin")
    client.force_login(user)
    page = reverse("admin:langbot_core_apitoken_add")
    body = {"label": "p", "user": user.pk, "workspace": workspace.pk}
    body |= {"expires_at_0": "", "expires_at_1": ""}
    client.post(page, {**body, "scopes": "everything"})
    assert not user.langbot_tokens.exists()
    client.post(page, {**body, "scopes": ["read", "metrics"]})
    assert user.langbot_tokens.exists() == is_superuser


def test_the_command_knows_the_scopes(user, workspace, capsys):
    with pytest.raises(CommandError, match="everything"):
        call_command("createapitoken", "ada", "--scope", "everything")
    call_command("createapitoken", "ada", "--scope", "metrics")
    headers = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    assert Client(headers=headers).get("/metrics").status_code == 200


def test_allowed_addresses_scrape_without_a_token(workspace, settings):
    given = dict(settings.LANGBOT)
    settings.LANGBOT = {**given, "METRICS_ALLOW": ["10.0.0.0/8", "::1"]}
    for address, status in (("10.1.2.3", 200), ("::1", 200), ("11.1.2.3", 401)):
        answer = Client(REMOTE_ADDR=address).get("/metrics")
        assert answer.status_code == status
    forged = Client(REMOTE_ADDR="").get(
        "/metrics", headers={"X-Forwarded-For": "10.1.2.3"}
    )
    assert forged.status_code == 401


def test_scrapes_close_together_share_one_look(prometheus):
    prometheus.get("/metrics")
    with CaptureQueriesContext(connection) as queries:
        prometheus.get("/metrics")
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
