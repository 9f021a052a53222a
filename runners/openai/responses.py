"""Answers of `/v1/responses`, whole and as the events of a stream."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from itertools import count
from typing import Any

from runners.live_hub import db
from runners.openai.calls import Started, follow_call
from runners.openai.chat import COMMENT
from runners.openai.errors import CallError
from runners.openai.outcomes import Outcome, Usage, outcome_of
from runners.replies import ReplyText

Document = dict[str, Any]


def response(started: Started, outcome: Outcome) -> Document:
    """Return a whole response."""
    is_cut = outcome.finish_reason == "length"
    status = "incomplete" if is_cut else "completed"
    document = _response(started, status)
    document["output"] = [_message(started, outcome.text, status)]
    document["usage"] = _usage(outcome.usage)
    if is_cut:
        document["incomplete_details"] = {"reason": "max_output_tokens"}
    return document


async def events(started: Started) -> AsyncGenerator[str, None]:
    """Yield the events of a streamed response, to its completion or failure."""
    frames, reply = _Frames(started), ReplyText()
    for opening in frames.opening():
        yield opening
    async with aclosing(follow_call(started.run_id)) as batches:
        async for batch in batches:
            part = "".join(map(reply.add, batch))
            if part:
                yield frames.delta(part)
            elif not batch:
                yield COMMENT
    outcome = await db(outcome_of, started.run_id)
    if outcome is None:
        return
    if outcome.error is not None:
        yield frames.failure(outcome.error)
        return
    for closing in frames.closing(outcome, reply.text):
        yield closing


class _Frames:
    """The numbered events of one response."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._numbers = count()
        self._part = {
            "item_id": _message_id(started),
            "output_index": 0,
            "content_index": 0,
        }

    def opening(self) -> Iterator[str]:
        """Yield everything before the first text."""
        document = _response(self._started, "in_progress")
        yield self._event("response.created", response=document)
        yield self._event("response.in_progress", response=document)
        item = {**_message(self._started, "", "in_progress"), "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        part = _text("")
        yield self._event("response.content_part.added", **self._part, part=part)

    def delta(self, part: str) -> str:
        """Return some new text."""
        return self._event(
            "response.output_text.delta", **self._part, delta=part, logprobs=[]
        )

    def closing(self, outcome: Outcome, text: str) -> Iterator[str]:
        """Yield everything after the last text, as the reader has it."""
        whole = Outcome(text, outcome.finish_reason, outcome.usage)
        document = response(self._started, whole)
        item, status = document["output"][0], document["status"]
        part = _text(text)
        yield self._event(
            "response.output_text.done", **self._part, text=text, logprobs=[]
        )
        yield self._event("response.content_part.done", **self._part, part=part)
        yield self._event("response.output_item.done", output_index=0, item=item)
        yield self._event(f"response.{status}", response=document)

    def failure(self, error: CallError) -> str:
        """Return the event that says why there is no whole answer."""
        document = _response(self._started, "failed")
        document["error"] = {"code": error.code, "message": error.message}
        return self._event("response.failed", response=document)

    def _event(self, kind: str, **members: Any) -> str:
        document = {"type": kind, "sequence_number": next(self._numbers), **members}
        return f"event: {kind}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n"


def _response(started: Started, status: str) -> Document:
    return {
        "id": f"resp_{started.run_id}",
        "object": "response",
        "created_at": int(started.created_at.timestamp()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": started.model,
        "output": [],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _message(started: Started, text: str, status: str) -> Document:
    return {
        "type": "message",
        "id": _message_id(started),
        "status": status,
        "role": "assistant",
        "content": [_text(text)],
    }


def _text(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message_id(started: Started) -> str:
    return f"msg_{started.run_id}"


def _usage(usage: Usage) -> Document:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total,
    }
