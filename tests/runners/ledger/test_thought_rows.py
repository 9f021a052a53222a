"""Thoughts stand in the transcript where they were thought, each once (AG-61)."""

from datetime import UTC, datetime

import pytest
from django.db import transaction

from runners.choices import HIDDEN_THOUGHT, EventType, RunStatus
from runners.ledger.batches import Batch, Ending, end_run, write_batches
from runners.ledger.fence import Fence, NewEvent
from runners.ledger.finishing import Reply
from runners.ledger.pausing import Pause, park, settle_parked
from runners.ledger.saying import Saying, say
from runners.models import AgentRun, EventLog, QueuedMessage, TranscriptItem
from runners.runtimes.replies import said_so_far
from runners.steering import claim_messages
from tests.runners.admin_rows import make_action, make_run
from tests.runners.ledger.test_tool_rows import called
from tests.support import ledger

pytestmark = pytest.mark.django_db(transaction=True)
TOOLS = {
    "capabilities": {"tool_calling": True, "steering": True},
    "tools": {"add": ["call"]},
}
SPEAKS = {"capabilities": {"steering": True}}


def begun(agent, access, **snapshot):
    run = ledger.begin(make_run(agent, RunStatus.QUEUED))
    AgentRun.objects.filter(pk=run.pk).update(snapshot={"access": access, **snapshot})
    run.refresh_from_db()
    return run


def thought(block, *texts):
    return [
        NewEvent(EventType.REASONING_DELTA, {"text": text, "block": block})
        for text in texts
    ]


def write(run, *events, invocation=1):
    batch = Batch(run.pk, run.conversation_id, ledger.TOKEN, list(events))
    batch.invocation = invocation
    assert write_batches([batch]).last_seq


def finish(run, *thoughts, text="done"):
    ending = Ending(RunStatus.COMPLETED, reply=Reply(text, thoughts=list(thoughts)))
    batch = Batch(run.pk, run.conversation_id, ledger.TOKEN, [ending.event()])
    batch.ending = ending
    assert write_batches([batch]).last_seq


def rows(run):
    items = TranscriptItem.objects.filter(conversation=run.conversation)
    return [(one.item_type, one.text) for one in items.order_by("seq")]


def follow_up(run, text):
    event = EventLog.objects.create(
        workspace=run.workspace,
        source="user:1",
        event_id=text,
        type="message.received",
        time=datetime.now(UTC),
        conversation=run.conversation,
        input={"text": text},
        trigger_source="webui",
        outcome="queued",
    )
    QueuedMessage.objects.create(
        conversation=run.conversation, event=event, agent=run.agent
    )


def pull(run):
    with transaction.atomic():
        claim_messages(run.pk, 10)


def test_they_stand_between_the_calls_that_they_led_to(agent):
    run = begun(agent, TOOLS)
    write(run, *thought(1, "I ", "add"), *called("c1", 3), *thought(2, "Good"))
    finish(run, "I add", "Good")
    kinds = [kind for kind, _ in rows(run)]
    assert kinds == ["reasoning", "tool_call", "tool_result", "reasoning", "message"]
    assert [text for kind, text in rows(run) if kind == "reasoning"] == [
        "I add",
        "Good",
    ]


@pytest.mark.parametrize("access", [TOOLS, SPEAKS])
def test_what_was_said_meanwhile_stands_behind_them(agent, access):
    run = begun(agent, access)
    write(run, *thought(1, "First"))
    follow_up(run, "Hurry")
    pull(run)
    write(run, *thought(2, "Second"))
    with transaction.atomic():
        say(run.pk, Saying(key="a", text="Soon"))
    write(run, *thought(3, "Third"))
    finish(run, "First", "Second", "Third")
    assert rows(run) == [
        ("reasoning", "First"),
        ("message", "Hurry"),
        ("reasoning", "Second"),
        ("message", "Soon"),
        ("reasoning", "Third"),
        ("message", "done"),
    ]


def test_a_thought_that_goes_on_then_is_neither_lost_nor_repeated(agent):
    run = begun(agent, SPEAKS)
    write(run, *thought(1, "Well, "))
    follow_up(run, "Hurry")
    pull(run)
    write(run, *thought(1, "no"))
    finish(run, "Well, no")
    assert rows(run) == [
        ("reasoning", "Well, "),
        ("message", "Hurry"),
        ("reasoning", "no"),
        ("message", "done"),
    ]


def test_a_run_that_dies_in_between_has_each_once(agent):
    run = begun(agent, TOOLS, delivery_policy={"show_reasoning": False})
    write(run, *thought(1, "First"), *called("c1", 3))
    follow_up(run, "Hurry")
    pull(run)
    write(run, *thought(2, "Second"))
    ending = Ending(RunStatus.FAILED, "host_lost", "gone")
    end_run(run.pk, run.conversation_id, ending, said=lambda: said_so_far(run))
    kinds = [kind for kind, _ in rows(run)]
    assert kinds == [
        HIDDEN_THOUGHT,
        "tool_call",
        "tool_result",
        "message",
        HIDDEN_THOUGHT,
        "error",
    ]


def test_a_pause_writes_those_before_it(agent):
    run = begun(agent, TOOLS)
    write(run, *thought(1, "First"))
    action = make_action(run, tool_name="add", status="approved", tool_call_id="c1")
    with transaction.atomic():
        pause = Pause({**run.snapshot, "earlier_invocations": [1]})
        assert park(Fence(run.pk, ledger.TOKEN, 0), pause, 1)
    settled = settle_parked(action, {"result": 3})
    assert settled is not None
    assert settled.is_queued
    AgentRun.objects.filter(pk=run.pk).update(status=RunStatus.RUNNING)
    write(run, *thought(2, "Second"), invocation=2)
    finish(run, "First", "Second")
    kinds = [kind for kind, _ in rows(run)]
    assert kinds == ["reasoning", "tool_call", "tool_result", "reasoning", "message"]


def test_a_run_alone_with_its_thoughts(agent):
    run = begun(agent, {})
    write(run, *thought(1, "First"))
    finish(run, "First")
    assert rows(run) == [("reasoning", "First"), ("message", "done")]
