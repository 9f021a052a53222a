"""Thinking is kept apart: own events, own rows, nothing for models (AG-59..AG-61)."""

import pytest

from runners.choices import HIDDEN_THOUGHT, THOUGHT, Role, RunStatus
from runners.ledger.finishing import turn_rows
from runners.ledger.positions import RunOutput
from runners.models import AgentRun, RunEvent
from tests.runners.engine.test_results import feed, kinds, log  # noqa: F401 - fixtures

REASONING, MESSAGE = "reasoning.delta", "message.delta"


def blocks(log):  # noqa: F811
    events = (one for one in log.events if one.type == REASONING)
    return [(one.data["block"], one.data["text"]) for one in events]


def test_a_block_ends_where_anything_else_comes(log, feed):  # noqa: F811
    feed(REASONING, text="First ")
    feed(REASONING, text="thought")
    feed.delta("Well")
    feed(REASONING, text="")
    feed(REASONING, text="Second")
    log.events = []  # a batch was written
    feed(REASONING, text=" thought")
    feed("tool.call.started", tool_call_id="c", tool_name="t")
    feed(REASONING, text="Third")
    assert blocks(log) == [(2, " thought"), (3, "Third")]
    assert log.messages.thoughts == ["First thought", "Second thought", "Third"]
    feed("message.completed", message={"role": "assistant", "content": "Well, yes"})
    feed("run.completed")
    assert log.ending.reply.text == "Well, yes"
    assert log.ending.reply.thoughts == log.messages.thoughts


def test_text_and_thinking_are_never_one_event(log, feed):  # noqa: F811
    for letter in "abCdEf":
        feed(REASONING, text=letter) if letter in "bdf" else feed.delta(letter)
    assert kinds(log) == [MESSAGE, REASONING] * 3
    assert "".join(event.data["text"] for event in log.events) == "abCdEf"


def test_empty_thinking_is_nothing(log, feed):  # noqa: F811
    feed(REASONING, text="")
    assert log.events == []
    assert log.messages.thoughts == []


def test_thinking_alone_is_no_answer(log, feed):  # noqa: F811
    feed(REASONING, text="Hm")
    feed("run.completed")
    assert log.ending.code == "runner.empty_output"
    assert log.ending.reply.text == ""
    assert log.ending.reply.thoughts == ["Hm"]


def test_a_bad_thought_leaves_the_rest_alone(log, feed):  # noqa: F811
    """AG-58."""
    feed(REASONING, text={"not": "text"})
    feed.delta("Well")
    assert kinds(log) == ["warning", MESSAGE]


@pytest.mark.parametrize("shown", [True, False])
def test_hidden_thinking_is_marked_and_has_a_row_of_its_own(log, feed, shown):  # noqa: F811
    policy = {"show_reasoning": shown}
    log.facts.snapshot["delivery_policy"] = policy
    feed(REASONING, text="Hm")
    feed(REASONING, text=", well")
    assert [event.data.get("hidden", False) for event in log.events] == [not shown]
    run = AgentRun(status=RunStatus.COMPLETED, snapshot={"delivery_policy": policy})
    (item,) = turn_rows(run, log.reply(complete=True))
    assert item.role == Role.REASONING
    assert item.text == "Hm, well"
    assert item.item_type == (THOUGHT if shown else HIDDEN_THOUGHT)


def test_another_worker_goes_on_with_a_new_block(log, feed):  # noqa: F811
    feed(REASONING, text="First")
    feed.delta("Well")
    feed(REASONING, text="Second")
    said = RunOutput()
    for event in log.events:
        said.add(RunEvent(type=event.type, data=event.data))
    adopter = type(log)(log.facts)
    adopter.resume(3, said.text, *said.before)
    assert adopter.messages.thoughts == ["First", "Second"]
    raw = {"type": REASONING, "data": {"text": "Third"}, "sequence": 4}
    adopter.apply({"run_id": None, "usage": None, **raw}, 100)
    assert adopter.events[0].data == {"text": "Third", "block": 3}
