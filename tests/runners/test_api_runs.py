from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from agents.models import AgentBinding
from langbot.core.models import AuditLog
from runners.ledger.metadata import note_metadata
from runners.models import AgentRun, Delivery
from tests.factories import AgentFactory, BotFactory
from tests.runners.admin_rows import make_run
from tests.support import ledger

RUNS = "/api/v1/runs/"
DELIVERIES = "/api/v1/deliveries/"


@pytest.fixture
def start(api_client, agent):
    def start(**content):
        url = f"/api/v1/agents/{content.pop('agent', agent).public_id}/test/"
        answer = api_client.post(url, {"text": "hi"}, format="json").json()
        return AgentRun.objects.get(public_id=answer["run_id"])

    return start


def url_of(run, tail=""):
    return f"{RUNS}{run.public_id}/{tail}"


def test_a_run_shows_what_happened(api_client, start, agent):
    run = ledger.begin(start())
    ledger.fail(run)
    content = api_client.get(url_of(run)).json()
    assert content["id"] == str(run.public_id)
    assert content["status"] == "failed"
    assert content["error_code"] == "runner.error"
    assert content["retryable"] is True
    assert content["agent"] == str(agent.public_id)
    assert content["runner"] == agent.runner_id
    assert content["conversation"] == str(run.conversation.public_id)
    assert content["finished_at"]
    assert "snapshot" not in content


def test_runs_are_filtered(api_client, start, agent):
    first, second = ledger.begin(start()), start()
    other = start(agent=AgentFactory.create(workspace=agent.workspace))
    ledger.complete(first)

    def found(**query):
        rows = api_client.get(RUNS, query).json()["results"]
        return [row["id"] for row in rows]

    ids = [str(run.public_id) for run in (first, second, other)]
    assert found() == ids[::-1]
    assert found(status="completed") == ids[:1]
    assert found(status=["completed", "queued"]) == ids[::-1]
    assert found(agent=agent.slug) == found(agent=str(agent.public_id)) == ids[1::-1]
    assert found(agent="nobody") == []
    assert found(conversation=str(second.conversation.public_id)) == ids[1:2]
    middle = AgentRun.objects.get(pk=second.pk).created_at.isoformat()
    assert found(created_after=middle) == ids[2:]
    assert found(created_before=middle) == ids[:1]
    assert found(created_after="0001-01-01T00:00:00Z") == ids[::-1]
    assert found(created_before="9999-12-31T23:59:59Z") == ids[::-1]
    assert found(created_after="9999-12-31T23:59:59Z") == []
    assert found(created_before="0001-01-01T00:00:00Z") == []


def test_runs_are_filtered_by_parent_and_metadata(api_client, start):
    runs = [start() for _ in range(3)]
    for run, ticket in zip(runs, ("7", 7, True), strict=True):
        run.metadata = {"ticket": ticket, "__odd.key": "x", "list": ["7"]}
        run.save(update_fields=["metadata"])
        note_metadata(run)
    AgentRun.objects.filter(pk=runs[2].pk).update(parent=runs[0])

    def found(**query):
        rows = api_client.get(RUNS, query).json()["results"]
        return [runs.index(run) for run in runs for row in rows if is_row(run, row)]

    def is_row(run, row):
        return row["id"] == str(run.public_id)

    assert found(parent=str(runs[0].public_id)) == [2]
    assert found(parent=str(uuid4())) == []
    assert found(**{"metadata.ticket": "7"}) == [0, 1]
    assert found(**{"metadata.ticket": "true"}) == [2]
    assert found(**{"metadata.__odd.key": "x"}) == [0, 1, 2]
    assert found(**{"metadata.__odd.key": "x", "metadata.ticket": "8"}) == []
    for key in ("nobody", "list", "", "a'b\"c", "0", "$", "%s"):
        assert found(**{f"metadata.{key}": "7"}) == []
    many = {f"metadata.{number}": "x" for number in range(6)}
    assert api_client.get(RUNS, many).status_code == 400


def test_one_odd_row_breaks_no_list(api_client, start):
    odd = start()
    AgentRun.objects.filter(pk=odd.pk).update(
        labels={"a": 1}, usage=[1], metadata="text"
    )
    start()
    assert len(api_client.get(RUNS).json()["results"]) == 2


@pytest.mark.parametrize("count", [1, 20])
def test_a_list_asks_the_same_few_questions(
    api_client, start, count, django_assert_max_num_queries
):
    for _ in range(count):
        start()
    with django_assert_max_num_queries(4):
        assert len(api_client.get(RUNS).json()["results"]) == count


def test_labels_and_notes_are_all_that_changes(api_client, start):
    run = start()
    content = {"labels": ["good"], "notes": "n", "status": "completed"}
    changed = api_client.patch(url_of(run), content, format="json")
    assert changed.status_code == 200
    assert changed.json()["labels"] == ["good"]
    assert changed.json()["status"] == "queued"
    run.refresh_from_db()
    assert (run.labels, run.notes, run.status) == (["good"], "n", "queued")
    act = AuditLog.objects.get(action="changed")
    assert (act.before, act.after) == (
        {"labels": [], "notes": ""},
        {"labels": ["good"], "notes": "n"},
    )
    stale = api_client.patch(
        url_of(run), {"notes": "x"}, format="json", headers={"If-Match": '"old"'}
    )
    assert stale.status_code == 412
    refusals: list[dict[str, Any]] = [
        {"labels": "x"},
        {"labels": [{}]},
        {"notes": []},
        {"unknown": 1},
    ]
    for wrong in refusals:
        refused = api_client.patch(url_of(run), wrong, format="json")
        assert refused.status_code == 400


def test_the_ledger_is_paged_after_a_number(api_client, start):
    run = ledger.begin(start())
    ledger.write(run, *map(str, range(9)))
    ledger.complete(run)
    page = api_client.get(url_of(run, "events/?after=2&limit=4")).json()
    assert [row["seq"] for row in page["results"]] == [3, 4, 5, 6]
    assert set(page["results"][0]) == {"run_id", "seq", "type", "data", "created_at"}
    assert page["results"][0]["data"] == {"text": "1"}
    rest = api_client.get(page["next"]).json()
    assert [row["seq"] for row in rest["results"]] == [7, 8, 9, 10]
    last = api_client.get(rest["next"]).json()
    assert [row["type"] for row in last["results"]] == ["run.completed"]
    assert last["next"] is None
    for wrong in ("x", "-1", "9" * 30, "%00"):
        url = url_of(run, f"events/?after={wrong}")
        assert api_client.get(url).status_code == 400


def test_a_queued_run_is_cancelled_at_once(api_client, start):
    run = start()
    response = api_client.post(
        url_of(run, "cancel/"), {"reason": "changed my mind"}, format="json"
    )
    assert response.status_code == 202
    assert response.json()["status"] == "cancelled"
    again = api_client.post(url_of(run, "cancel/"), {}, format="json")
    assert again.status_code == 200
    events = api_client.get(url_of(run, "events/")).json()["results"]
    assert events[-1]["type"] == "run.failed"
    assert events[-1]["data"]["code"] == "cancelled"


def test_a_running_run_is_asked_to_stop(api_client, start):
    run = ledger.begin(start())
    for _ in range(2):
        response = api_client.post(url_of(run, "cancel/"), format="json")
        assert response.status_code == 202
        assert response.json()["cancel_requested_at"]
    ledger.complete(AgentRun.objects.get(pk=run.pk))
    late = api_client.post(url_of(run, "cancel/"), format="json")
    assert (late.status_code, late.json()["status"]) == (200, "completed")


def test_an_ended_run_is_tried_again(api_client, start, user):
    run = ledger.begin(start())
    ledger.fail(run)
    response = api_client.post(url_of(run, "retry/"))
    assert response.status_code == 201
    answer = response.json()
    assert (answer["attempt"], answer["status"]) == (2, "queued")
    assert answer["event"] == str(run.event.public_id)
    assert answer["origin"] == f"retry:{run.public_id}"
    assert response["Location"].endswith(f"{RUNS}{answer['id']}/")
    assert AuditLog.objects.get(action="retried").actor == user.get_username()


def test_only_ended_runs_of_idle_conversations_are_tried_again(api_client, start):
    run = start()
    live = api_client.post(url_of(run, "retry/"))
    assert (live.status_code, live.json()["code"]) == (409, "not_ended")
    ledger.fail(ledger.begin(run))
    again = api_client.post(url_of(run, "retry/")).json()["id"]
    busy = api_client.post(url_of(run, "retry/"))
    assert (busy.status_code, busy.json()["code"]) == (409, "conversation_busy")
    assert busy.json()["turn_in_flight"] == again
    ledger.fail(ledger.begin(AgentRun.objects.get(public_id=again)))
    run.agent.enabled = False
    run.agent.save()
    disabled = api_client.post(url_of(run, "retry/"))
    assert (disabled.status_code, disabled.json()["code"]) == (409, "agent_unavailable")


def test_a_repeated_retry_is_one_retry(api_client, start):
    run = ledger.begin(start())
    ledger.fail(run)
    headers = {"Idempotency-Key": "again"}
    answers = [
        api_client.post(url_of(run, "retry/"), headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert AgentRun.objects.count() == 2


def test_an_ended_stream_with_nothing_left_is_204(api_client, start):
    run = ledger.begin(start())
    last = ledger.complete(run)
    url = url_of(run, f"stream/?after={last}")
    assert api_client.get(url).status_code == 204
    resumed = api_client.get(
        url_of(run, "stream/"), headers={"Last-Event-ID": str(last)}
    )
    assert resumed.status_code == 204
    wrong = api_client.get(url_of(run, "stream/?after=x"))
    assert wrong.status_code == 400


def test_unknown_and_foreign_runs_do_not_exist(api_client, start, agent):
    run = start()
    foreign = AgentFactory.create().workspace
    AgentRun.objects.filter(pk=run.pk).update(workspace=foreign)
    for run_id in (run.public_id, uuid4()):
        for tail in ("", "events/", "stream/"):
            assert api_client.get(f"{RUNS}{run_id}/{tail}").status_code == 404
        for tail in ("cancel/", "retry/"):
            assert api_client.post(f"{RUNS}{run_id}/{tail}").status_code == 404


@pytest.fixture
def delivery(api_client, agent):
    """The row of a reply to a bot, as clients see it."""
    bot = BotFactory.create(workspace=agent.workspace)
    AgentBinding.objects.create(agent=agent, scope="bot", scope_ref=bot.slug)
    event = {
        "type": "message.received",
        "bot": bot.slug,
        "conversation": "room",
        "input": {"text": "hi"},
    }
    answer = api_client.post("/api/v1/events/", event, format="json").json()
    run = AgentRun.objects.get(public_id=answer["run_id"])
    ledger.complete(ledger.begin(run), "the reply")
    Delivery.objects.update(attempt_log=[{"error": "refused"}], attempts=1)
    rows = api_client.get(f"{DELIVERIES}?bot={bot.slug}&status=pending").json()
    assert rows["results"][0]["run"] == answer["run_id"]
    return rows["results"][0]


def test_deliveries_are_listed_with_their_attempts(api_client, delivery):
    row = delivery
    assert row["payload"]["text"] == "the reply"
    assert (row["attempts"], row["attempt_log"]) == (1, [{"error": "refused"}])
    assert api_client.get(f"{DELIVERIES}{row['id']}/").json() == row
    assert api_client.get(f"{DELIVERIES}?status=failed").json()["results"] == []
    Delivery.objects.update(workspace=AgentFactory.create().workspace)
    assert api_client.get(f"{DELIVERIES}{row['id']}/").status_code == 404


def test_a_failed_delivery_is_sent_again(api_client, delivery):
    url = f"{DELIVERIES}{delivery['id']}/"
    pending = api_client.post(f"{url}retry/")
    assert (pending.status_code, pending.json()["code"]) == (409, "not_retryable")
    for status in ("failed", "uncertain"):
        Delivery.objects.update(status=status)
        again = api_client.post(f"{url}retry/")
        assert again.status_code == 202
        assert (again.json()["status"], again.json()["attempts"]) == ("pending", 0)
        assert again.json()["idempotency_key"] == delivery["idempotency_key"]
    assert AuditLog.objects.filter(action="retried").count() == 2


def test_a_delivery_is_given_up(api_client, delivery):
    url = f"{DELIVERIES}{delivery['id']}/"
    Delivery.objects.update(status="sending")
    assert api_client.post(f"{url}cancel/").json()["code"] == "not_cancellable"
    Delivery.objects.update(status="pending")
    given_up = api_client.post(f"{url}cancel/")
    assert (given_up.status_code, given_up.json()["status"]) == (200, "cancelled")
    assert AuditLog.objects.get(action="cancelled").object_id == delivery["id"]
    Delivery.objects.update(workspace=AgentFactory.create().workspace)
    for tail in ("retry/", "cancel/"):
        assert api_client.post(url + tail).status_code == 404


def test_created_filters_take_offsets(api_client, start):
    start()
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = api_client.get(RUNS, {"created_after": past}).json()["results"]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("started", "finished", "shown"),
    [(0, 1.2345, 1234), (0, None, None), (None, 2, None), (5, 5, 0)],
)
def test_a_run_tells_how_long_it_took(api_client, agent, started, finished, shown):
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    at = [
        None if one is None else begin + timedelta(seconds=one)
        for one in (started, finished)
    ]
    status = "running" if finished is None else "failed"
    run = make_run(agent, status)
    AgentRun.objects.filter(pk=run.pk).update(started_at=at[0], finished_at=at[1])
    found = api_client.get(f"/api/v1/runs/{run.public_id}/").json()
    assert found["duration_ms"] == shown
