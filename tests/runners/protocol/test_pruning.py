"""What a model is told has no tool calls without answers (AG-62, AG-63)."""

import logging

import pytest

from runners.protocol.pruning import prune_orphan_tool_calls

USER = {"role": "user", "content": "Hi"}
TEXT = {"role": "assistant", "content": "Hello"}


def asked(*ids):
    calls = [{"id": one, "type": "function", "function": {}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answer(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


NO_CALLS = {**TEXT, "tool_calls": "none"}
WHOLE = [USER, asked("a", "b"), answer("a"), answer("b"), TEXT]


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ([], []),
        (WHOLE, WHOLE),
        ([USER, TEXT], [USER, TEXT]),
        ([*WHOLE, asked("c")], WHOLE),
        ([*WHOLE, asked("c", "d"), answer("c")], WHOLE),
        ([*WHOLE, asked("c"), USER], [*WHOLE, USER]),
        (
            [*WHOLE, asked("c"), asked("d"), answer("d")],
            [*WHOLE, asked("d"), answer("d")],
        ),
        ([answer("z"), *WHOLE], WHOLE),
        ([*WHOLE, NO_CALLS], [*WHOLE, NO_CALLS]),
    ],
)
def test_only_calls_without_all_answers_go(messages, kept):
    before = [dict(message) for message in messages]
    assert prune_orphan_tool_calls(messages) == (kept, len(messages) - len(kept))
    assert messages == before


def test_the_log_says_so_only_when_asked_and_needed(caplog):
    with caplog.at_level(logging.INFO):
        prune_orphan_tool_calls([asked("c")])
        prune_orphan_tool_calls(WHOLE, "run 1")
        assert not caplog.records
        prune_orphan_tool_calls([asked("c")], "run 1")
    assert "run 1" in caplog.text
