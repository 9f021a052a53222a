"""Messages that a running run takes up: each once, the rest keeps waiting."""

import pytest

from runners.choices import QueuedStatus
from runners.models import EventLog, QueuedMessage, TranscriptItem
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run

STEERED = {"steering": True}


@pytest.fixture
def steered(caller_of):
    return caller_of({}, capabilities=STEERED)


def follow_up(caller, text, agent=None, **more):
    other = make_run(
        caller.run.agent,
        text=text,
        conversation=caller.run.conversation,
        status="completed",
    )
    return QueuedMessage.objects.create(
        conversation=caller.run.conversation,
        event=other.event,
        agent=agent or caller.run.agent,
        **more,
    )


def pulled(caller, **data):
    items = caller("steering_pull", **data)["items"]
    return [item["input"]["text"] for item in items]


def test_waiting_messages_are_claimed_in_their_order(steered):
    messages = [follow_up(steered, text) for text in ("one", "two", "three")]
    items = steered("steering_pull", mode="all")["items"]
    assert [item["input"]["text"] for item in items] == ["one", "two", "three"]
    first = items[0]
    assert first["claimed_run_id"] == str(steered.run.public_id)
    assert first["runner_id"] == steered.run.runner_id
    assert first["event"]["event_id"] == messages[0].event.event_id
    assert first["claimed_at"] > 0
    for message in messages:
        message.refresh_from_db()
        assert (message.status, message.run) == (QueuedStatus.INJECTED, steered.run)
        assert message.ended_at is not None
    rows = TranscriptItem.objects.filter(run=steered.run, role="user")
    assert [row.text for row in rows.order_by("seq")] == ["one", "two", "three"]
    (event,) = steered.told.events
    assert event.type == "steering.injected"
    assert [one["text"] for one in event.data["messages"]] == ["one", "two", "three"]
    assert pulled(steered) == []


def test_a_claimed_message_brings_what_its_sender_wrote(steered):
    message = follow_up(steered, "one")
    written = {"document": "d-1", "mode": "mine"}
    EventLog._base_manager.filter(pk=message.event_id).update(metadata=written)
    (item,) = steered("steering_pull")["items"]
    assert item["metadata"] == {
        "document": "d-1",
        "message_id": str(message.public_id),
        "mode": message.mode,
    }


@pytest.mark.parametrize("mode", ["one", "one-at-a-time", "one_at_a_time"])
def test_one_at_a_time(steered, mode):
    for text in ("one", "two"):
        follow_up(steered, text)
    assert pulled(steered, mode=mode) == ["one"]
    assert pulled(steered, mode=mode, limit=9) == ["two"]
    assert pulled(steered, mode=mode) == []


def test_a_limit_bounds_it_and_100_are_the_most(steered):
    for number in range(103):
        follow_up(steered, str(number))
    assert pulled(steered, limit=2) == ["0", "1"]
    assert len(pulled(steered, limit=500)) == 100
    assert pulled(steered) == ["102"]


def test_a_repeated_frame_gets_the_same_messages(steered):
    follow_up(steered, "one")
    first = steered("steering_pull", seq_id=90)
    follow_up(steered, "two")
    assert steered("steering_pull", seq_id=90) == first
    assert pulled(steered) == ["two"]
    assert TranscriptItem.objects.filter(run=steered.run).count() == 2


def test_messages_for_others_and_what_is_behind_them_wait(steered):
    follow_up(steered, "mine")
    other = AgentFactory.create(workspace=steered.run.workspace)
    follow_up(steered, "another agent's", agent=other)
    follow_up(steered, "behind it")
    assert pulled(steered) == ["mine"]
    assert QueuedMessage.objects.waiting().count() == 2


def test_dry_runs_and_cancelled_messages_are_left_alone(steered):
    follow_up(steered, "gone", status=QueuedStatus.CANCELLED)
    follow_up(steered, "dry", dry_run=True)
    assert pulled(steered) == []


def test_only_runners_that_can_be_steered_pull(caller_of):
    caller = caller_of({})
    follow_up(caller, "one")
    assert caller.refused("steering_pull") == "permission_denied"
    assert QueuedMessage.objects.waiting().count() == 1


@pytest.mark.parametrize("data", [{"mode": "some"}, {"limit": 0}, {"limit": "x"}])
def test_wrong_pulls_claim_nothing(steered, data):
    follow_up(steered, "one")
    assert steered.refused("steering_pull", **data) == "invalid_request"
    assert QueuedMessage.objects.waiting().count() == 1


def test_an_ended_run_claims_nothing(steered):
    follow_up(steered, "one")
    type(steered.run).objects.filter(pk=steered.run.pk).update(status="queued")
    assert steered.refused("steering_pull") == "run.not_active"
    assert QueuedMessage.objects.waiting().count() == 1
    assert not TranscriptItem.objects.exists()
