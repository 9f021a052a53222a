"""Messages for a run that takes them up while it works: told, pulled or left over."""

import pytest
from django.db import transaction

from agents.models import RunnerDescriptor
from runners.branches import messages_after, regenerate
from runners.choices import EventType, QueuedStatus, RunStatus
from runners.ledger.batches import Batch, Ending, write_batches
from runners.ledger.fence import NewEvent
from runners.ledger.finishing import Reply
from runners.ledger.steering import can_be_steered
from runners.models import AgentRun, QueuedMessage, RunEvent, TranscriptItem
from runners.pending import cancel_message
from runners.services import request_cancel
from runners.steering import claim_messages
from tests.factories import AgentFactory
from tests.runners.ledger.test_fence import in_threads
from tests.runners.test_admission import admit, finish, message
from tests.runners.test_strategies import live, said, stop
from tests.support.ledger import TOKEN, begin
from tests.support.load import broken_ledgers

STEERED = {"access": {"capabilities": {"steering": True}}, "delivery_policy": {}}
ROUNDS = 15


@pytest.fixture
def steered(agent):
    """An agent whose runner declares steering."""
    RunnerDescriptor.objects.create(
        runner_id=agent.runner_id,
        plugin="langbot/echo",
        kind="Runner",
        capabilities={"steering": True},
    )
    return agent


def carried(run):
    """Have a queued run carried, frozen as its runner was."""
    begin(run)
    AgentRun.objects.filter(pk=run.pk).update(snapshot=STEERED)
    return AgentRun.objects.get(pk=run.pk)


def complete(run, text="done"):
    """End a run as its worker does, which knows that it can be steered."""
    ending = Ending(RunStatus.COMPLETED, reply=Reply(text))
    batch = Batch(run.pk, run.conversation_id, TOKEN, [ending.event()], ending=ending)
    batch.can_be_steered = True
    return write_batches([batch])


@transaction.atomic
def pull(run):
    """Claim what waits, as the journal of host calls has it done."""
    return claim_messages(run.pk, 10)


def told(run, kind="steering.queued"):
    """Return what the run's ledger says of messages, by their texts."""
    events = RunEvent.objects.filter(run=run, type=kind).order_by("seq")
    return [[one["text"] for one in event.data["messages"]] for event in events]


def test_a_message_behind_a_steerable_run_is_told_to_it(steered):
    first = admit(message(steered, "one"))
    run = carried(first.run)
    second = admit(message(steered, "two"))
    assert (second.status, second.message.mode) == ("queued", "steering")
    assert told(run) == [["two"]]
    complete(run, "answer")
    assert told(run, "steering.dropped") == [["two"]]
    dropped = RunEvent.objects.get(run=run, type="steering.dropped")
    assert dropped.data["reason"] == "run_ended"
    assert broken_ledgers([run.pk]) == []
    assert live(run.conversation).event == second.event
    assert said(run.conversation) == ["user one", "assistant answer", "user two"]


def test_a_run_that_waits_for_a_worker_is_told_as_well(steered):
    first = admit(message(steered, "one"))
    admit(message(steered, "two"))
    assert told(first.run) == [["two"]]


def test_what_is_left_is_told_to_the_next_run(steered):
    first = admit(message(steered, "one"))
    run = carried(first.run)
    for text in ("two", "three", "four"):
        admit(message(steered, text))
    complete(run, "answer")
    assert told(run, "steering.dropped") == [["two", "three", "four"]]
    assert told(live(run.conversation)) == [["three", "four"]]


def test_pulled_messages_are_written_once_in_their_place(steered):
    run = carried(admit(message(steered, "one")).run)
    second = admit(message(steered, "two"))
    assert claim_messages(run.pk, 10) == {"messages": [second.message.pk]}
    assert claim_messages(run.pk, 10) == {"messages": []}
    complete(run, "answer to both")
    assert told(run, "steering.dropped") == []
    assert said(run.conversation) == [
        "user one",
        "user two",
        "assistant answer to both",
    ]
    assert live(run.conversation) is None
    second.message.refresh_from_db()
    assert (second.message.status, second.message.run) == ("injected", run)


def test_a_pulled_message_stands_behind_the_tools_it_came_with(steered):
    run = carried(admit(message(steered, "one")).run)
    access = {
        "capabilities": {"steering": True, "tool_calling": True},
        "tools": {"add": ["call"]},
    }
    AgentRun.objects.filter(pk=run.pk).update(snapshot={"access": access})

    def use_tool(call_id):
        named = {"tool_call_id": call_id, "tool_name": "add"}
        started = NewEvent(EventType.TOOL_CALL_STARTED, {**named, "parameters": {}})
        done = {**named, "result": {"sum": 3}, "error": None}
        ended = NewEvent(EventType.TOOL_CALL_COMPLETED, done)
        write_batches([Batch(run.pk, run.conversation_id, TOKEN, [started, ended])])

    use_tool("c1")
    admit(message(steered, "two"))
    claim_messages(run.pk, 10)
    use_tool("c1")  # models count them anew in each round
    admit(message(steered, "three"))
    claim_messages(run.pk, 10)
    use_tool("c3")
    complete(run, "answer")
    rows = TranscriptItem.objects.filter(run=run).order_by("seq")
    call, result = "assistant tool_call", "tool tool_result"
    assert [f"{row.role} {row.item_type}" for row in rows] == [
        *("user message", call, result),
        *("user message", call, result),
        *("user message", call, result),
        "assistant message",
    ]


def test_a_message_taken_back_is_told(steered):
    run = carried(admit(message(steered, "one")).run)
    waiting = admit(message(steered, "two")).message
    assert cancel_message(waiting)
    assert told(run, "steering.dropped") == [["two"]]
    complete(run)
    assert len(told(run, "steering.dropped")) == 1


def test_a_run_that_is_being_stopped_takes_nothing_up(steered):
    run = carried(admit(message(steered, "one")).run)
    admit(message(steered, "before"))
    request_cancel(run, "")
    later = admit(message(steered, "after"))
    assert later.message.mode == "enqueue"
    assert claim_messages(run.pk, 10) == {"messages": []}
    stop(run)
    assert told(run, "steering.dropped") == [["before"]]
    assert live(run.conversation).event.input["text"] == "before"


def test_runners_that_cannot_are_told_nothing(agent):
    first = admit(message(agent, "one"))
    begin(first.run)
    assert admit(message(agent, "two")).message.mode == "enqueue"
    assert told(first.run) == []


def test_a_hundred_wait_to_be_pulled_and_ten_more_for_their_turn(steered, settings):
    settings.LANGBOT = {
        **settings.LANGBOT,
        "LIMITS": {"steered": 3, "follow_ups": 2, "follow_ups_per_minute": 1000},
    }
    admit(message(steered))
    modes = [admit(message(steered)).message.mode for _ in range(5)]
    assert modes == ["steering"] * 3 + ["enqueue"] * 2
    with pytest.raises(Exception, match="5 of 5 messages"):
        admit(message(steered))


def test_messages_of_another_agent_are_not_for_this_run(steered):
    first = admit(message(steered, "one"))
    other = AgentFactory.create(workspace=steered.workspace)
    assert admit(message(other, "two")).message.mode == "enqueue"
    assert told(first.run) == []


def test_rights_are_those_that_the_run_was_frozen_with(steered):
    run = carried(admit(message(steered)).run)
    RunnerDescriptor.objects.update(capabilities={})
    assert can_be_steered(run)
    AgentRun.objects.filter(pk=run.pk).update(snapshot={})
    assert not can_be_steered(run)


def post(api_client, run, text="more", **content):
    url = f"/api/v1/runs/{run.public_id}/steer/"
    return api_client.post(url, {"text": text, **content}, format="json")


def test_steering_a_run_by_rest(api_client, steered):
    run = carried(admit(message(steered, "one")).run)
    answer = post(api_client, run, client_key="k")
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "queued"
    assert body["turn_in_flight"] == str(run.public_id)
    assert (body["buffer_length"], body["max_buffer_length"]) == (1, 110)
    again = post(api_client, run, client_key="k")
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert told(run) == [["more"]]
    complete(run)
    assert live(run.conversation).event.input["text"] == "more"


def test_whatever_the_strategy_a_steered_message_stops_nothing(api_client, steered):
    steered.multitask_strategy = "rollback"
    steered.save()
    run = carried(admit(message(steered, "one")).run)
    assert post(api_client, run).status_code == 202
    run.refresh_from_db()
    assert run.cancel_requested_at is None


def test_what_cannot_be_steered_says_so(api_client, steered, settings):
    first = admit(message(steered, "one"))
    run = carried(first.run)
    request_cancel(run, "")
    assert refusal(api_client, run) == (409, "not_steerable")
    stop(run)
    assert refusal(api_client, run) == (409, "not_steerable")
    RunnerDescriptor.objects.update(capabilities={})
    other = admit(message(steered, conversation="other")).run
    assert refusal(api_client, other) == (409, "not_steerable")
    assert not QueuedMessage.objects.exists()
    RunnerDescriptor.objects.update(capabilities={"steering": True})
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"steered": 1}}
    assert post(api_client, other, "one").status_code == 202
    assert refusal(api_client, other) == (429, "queue_full")


def refusal(api_client, run):
    answer = post(api_client, run)
    return answer.status_code, answer.json()["code"]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_meets_a_pull_and_an_end_is_answered_once(steered):
    """It is pulled by the run or begins the next one; never both, never neither."""
    for number in range(ROUNDS):
        room = f"room {number}"
        run = carried(admit(message(steered, "one", room)).run)
        outcomes = in_threads(
            lambda run=run: pull(run) and complete(run),
            lambda room=room: admit(message(steered, "late", room)),
        )
        assert len(outcomes) == 2
        row = QueuedMessage.objects.filter(conversation=run.conversation).first()
        texts = TranscriptItem.objects.filter(conversation=run.conversation)
        assert texts.filter(role="user", text="late").count() == 1
        following = live(run.conversation)
        if row is None:  # it came when the run had ended
            assert following.event.input["text"] == "late"
        elif row.status == QueuedStatus.INJECTED:
            assert (row.run, following) == (run, None)
        else:
            assert (row.status, row.run) == (QueuedStatus.PROMOTED, following)
        assert broken_ledgers([run.pk]) == []


def test_a_finished_run_absorbs_nothing(steered):
    run = carried(admit(message(steered, "one")).run)
    complete(run)
    assert claim_messages(run.pk, 10) == {"messages": []}
    assert admit(message(steered, "two")).status == "started"
    finish(live(run.conversation))


# A reply made anew


def made_anew(run, role="assistant"):
    rows = TranscriptItem.objects.current().filter(run=run, role=role)
    return regenerate(rows.latest("seq"), "ada").run


@pytest.fixture
def joined(steered):
    """Return a run that has answered `one` and what it took up: `two` and `three`."""
    run = carried(admit(message(steered, "one")).run)
    for text in ("two", "three"):
        admit(message(steered, text))
        pull(run)
    complete(run, "answer to all")
    return run


def test_what_a_turn_took_up_waits_for_the_next_attempt(joined):
    again = carried(made_anew(joined))
    assert said(joined.conversation) == ["user one"]
    assert told(again) == [["two", "three"]]
    assert len(pull(again)["messages"]) == 2
    complete(again, "better")
    assert broken_ledgers([again.pk]) == []
    shown = ["user one", "user two", "user three", "assistant better"]
    assert said(joined.conversation) == shown
    third = carried(made_anew(again, role="user"))
    assert told(third) == [["two", "three"]]
    assert len(pull(third)["messages"]) == 2
    complete(third, "best")
    assert said(joined.conversation) == [*shown[:-1], "assistant best"]
    assert QueuedMessage.objects.filter(run=third, status="injected").count() == 2


def test_what_no_runner_takes_up_again_gets_answers_of_its_own(joined):
    RunnerDescriptor.objects.update(capabilities={})
    again = made_anew(joined)
    assert told(again) == []
    finish(again, "better")
    finish(live(joined.conversation), "to two")
    finish(live(joined.conversation), "to three")
    assert said(joined.conversation) == [
        *("user one", "assistant better"),
        *("user two", "assistant to two"),
        *("user three", "assistant to three"),
    ]


def test_what_later_turns_took_up_goes_with_them(joined, steered):
    later = carried(admit(message(steered, "four")).run)
    admit(message(steered, "five"))
    pull(later)
    complete(later, "later")
    again = made_anew(joined)
    assert told(again) == [["two", "three"]]
    assert QueuedMessage.objects.waiting().count() == 2


def test_what_the_queue_has_forgotten_waits_again_too(joined):
    QueuedMessage.objects.all().delete()  # as retention does
    again = carried(made_anew(joined))
    assert told(again) == [["two", "three"]]


def test_it_is_known_before_what_a_reply_made_anew_replaces(joined, steered):
    answer = TranscriptItem.objects.get(text="answer to all")
    assert messages_after(answer) == 0
    later = carried(admit(message(steered, "four")).run)
    admit(message(steered, "five"))
    pull(later)
    complete(later, "later")
    for text in ("answer to all", "one", "three"):
        assert messages_after(TranscriptItem.objects.get(text=text)) == 2
    assert messages_after(TranscriptItem.objects.get(text="later")) == 0
