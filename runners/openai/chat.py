"""Answers of `/v1/chat/completions`, whole and in chunks."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from runners.live_hub import db
from runners.openai.calls import Started, follow_call
from runners.openai.outcomes import Outcome, Usage, outcome_of
from runners.replies import ReplyText

COMMENT = ": still here\n\n"
DONE = "data: [DONE]\n\n"


def completion(started: Started, outcome: Outcome) -> dict[str, Any]:
    """Return a whole chat completion."""
    message = {"role": "assistant", "content": outcome.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": outcome.finish_reason,
    }
    return {
        **_head(started, "chat.completion"),
        "choices": [choice],
        "usage": _usage(outcome.usage),
    }


async def chunks(started: Started, *, include_usage: bool) -> AsyncGenerator[str, None]:
    """Yield the frames of a streamed completion; a failed run ends with an error."""
    frames = _Frames(started, include_usage=include_usage)
    reply = ReplyText()
    yield frames.delta({"role": "assistant", "content": ""})
    async with aclosing(follow_call(started.run_id)) as batches:
        async for batch in batches:
            parts = "".join(map(reply.add, batch))
            if parts:
                yield frames.delta({"content": parts})
            elif not batch:
                yield COMMENT
    outcome = await db(outcome_of, started.run_id)
    if outcome is None:
        return
    if outcome.error is not None:
        yield frame(outcome.error.document())
        return
    yield frames.delta({}, outcome.finish_reason)
    if include_usage:
        yield frames.usage(outcome.usage)
    yield DONE


def frame(document: dict[str, Any]) -> str:
    """Return one server-sent event without a name."""
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


class _Frames:
    """The chunks of one completion."""

    def __init__(self, started: Started, *, include_usage: bool) -> None:
        self._head = _head(started, "chat.completion.chunk")
        if include_usage:
            self._head["usage"] = None

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return frame({**self._head, "choices": [choice]})

    def usage(self, usage: Usage) -> str:
        return frame({**self._head, "choices": [], "usage": _usage(usage)})


def _head(started: Started, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{started.run_id}",
        "object": kind,
        "created": int(started.created_at.timestamp()),
        "model": started.model,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
    }
