"""What the model is sent: the prompt, what was said before, what happened now."""

import json
from typing import Any

from runners.official.local_agent_schema import DEFAULT_HISTORY, DEFAULT_PROMPT
from runners.protocol.pages import TranscriptItem
from runners.sdk import RunContext

TOOL_ITEMS = frozenset({"tool_call", "tool_result"})  # LB-90
_SPOKEN = frozenset({"user", "assistant"})


async def build_messages(ctx: RunContext) -> list[dict[str, Any]]:
    """Return prompt, history, the current event and what this run did since.

    A run that goes on after a person decided finds its own rows in the history.
    """
    prompt = await ctx.prompt() or DEFAULT_PROMPT
    items = await ctx.history(history_limit(ctx.config))
    own = [item for item in items if _is_since(ctx, item)]
    earlier = [item for item in items if not _is_since(ctx, item)]
    spoken = [_from_history(item) for item in earlier if is_spoken(item)]
    since = [_from_this_run(item) for item in own if _is_of_turn(item)]
    return [*prompt, *spoken, current_message(ctx), *since]


def history_limit(config: dict[str, Any]) -> int:
    """Return how many items to fetch; a bad or missing number is the default."""
    limit = config.get("context-history-fetch-limit", DEFAULT_HISTORY)
    is_number = isinstance(limit, int) and not isinstance(limit, bool)
    return max(0, limit) if is_number else DEFAULT_HISTORY


def is_spoken(item: TranscriptItem) -> bool:
    # Tool traffic and thoughts of earlier turns never go back as text.
    is_message = item.item_type == "message" and item.role in _SPOKEN
    return is_message and bool(item.text)


def _is_since(ctx: RunContext, item: TranscriptItem) -> bool:
    """Whether it came after the run's event; a turn may answer what came before it."""
    return item.run_id == ctx.run_id and not item.metadata.get("said_before")


def _is_of_turn(item: TranscriptItem) -> bool:
    return item.item_type in TOOL_ITEMS or is_spoken(item)


def _from_this_run(item: TranscriptItem) -> dict[str, Any]:
    is_tool = item.item_type in TOOL_ITEMS and item.content_json is not None
    return dict(item.content_json or {}) if is_tool else _from_history(item)


def current_message(ctx: RunContext) -> dict[str, Any]:
    """Return the event as the user's message, images and files kept."""
    elements = [element.model_dump() for element in ctx.input.contents]
    if any(element["type"] != "text" for element in elements):
        return {"role": "user", "content": elements}
    if ctx.text:
        return {"role": "user", "content": ctx.text}
    # An event without words is told as what it is, not disguised as somebody's words.
    event = {"event": ctx.event.event_type, "data": ctx.event.data}
    text = json.dumps(event, ensure_ascii=False, default=str)
    return {"role": "user", "content": f"[Event] {text}"}


def _from_history(item: TranscriptItem) -> dict[str, Any]:
    return {"role": item.role, "content": item.text}
