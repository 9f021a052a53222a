"""Taking out of a history what a model refuses: tool calls that nobody answered.

A turn that was stopped, or whose worker died, may leave an assistant's message whose
calls have no answers, or not all of them. Only what a model is told is changed; the
rows stay (AG-62, AG-63).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Mapping[str, Any])


def prune_orphan_tool_calls(
    messages: Sequence[M], log_prefix: str = ""
) -> tuple[list[M], int]:
    """Return the messages, oldest first, without unanswered calls; and how many went.

    A message whose calls are not all answered goes with the answers that it has, and
    so does an answer to no call. Says so in the log where a prefix is given. One pass.
    """
    kept: list[M] = []
    answers: list[M] = []  # after the message that is looked at, up to the next one
    for message in reversed(messages):
        if message.get("role") == "tool":
            answers.append(message)
            continue
        asked = _calls_of(message)
        answered = {answer.get("tool_call_id") for answer in answers}
        if asked and asked <= answered:
            kept += [one for one in answers if one.get("tool_call_id") in asked]
        if asked <= answered:
            kept.append(message)
        answers = []
    removed = len(messages) - len(kept)
    if removed and log_prefix:
        logger.info("%s: %d messages of unanswered calls left out", log_prefix, removed)
    return kept[::-1], removed


def _calls_of(message: Mapping[str, Any]) -> set[Any]:
    calls = message.get("tool_calls")
    given = calls if isinstance(calls, list) else []
    return {call.get("id") for call in given if isinstance(call, Mapping)}
