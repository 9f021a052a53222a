from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from agents.models import AgentBinding
from runners.models import AgentRun, Delivery
from tests.factories import AgentFactory, BotFactory
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


@pytest.mark.parametrize("count", [1, 20])
def test_a_list_asks_the_same_few_questions(
    api_client, start, count, django_assert_max_num_queries
):
    for _ in range(count):
        start()
    with django_assert_max_num_queries(2):
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
        assert api_client.post(f"{RUNS}{run_id}/cancel/").status_code == 404


def test_deliveries_are_listed_with_their_attempts(api_client, agent):
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
    row = rows["results"][0]
    assert row["run"] == answer["run_id"]
    assert row["payload"]["text"] == "the reply"
    assert (row["attempts"], row["attempt_log"]) == (1, [{"error": "refused"}])
    assert api_client.get(f"{DELIVERIES}{row['id']}/").json() == row
    assert api_client.get(f"{DELIVERIES}?status=failed").json()["results"] == []
    Delivery.objects.update(workspace=AgentFactory.create().workspace)
    assert api_client.get(f"{DELIVERIES}{row['id']}/").status_code == 404


def test_created_filters_take_offsets(api_client, start):
    start()
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = api_client.get(RUNS, {"created_after": past}).json()["results"]
    assert len(rows) == 1
