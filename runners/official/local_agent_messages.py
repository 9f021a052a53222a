"""What the model is sent: the prompt, what was said before, what happened now."""

import json
from dataclasses import dataclass
from typing import Any

from runners.official.local_agent_checkpoint import (
    Checkpoint,
    items_after,
    read_checkpoint,
)
from runners.official.local_agent_files import parts_of, text_part
from runners.official.local_agent_schema import DEFAULT_HISTORY, DEFAULT_PROMPT
from runners.protocol.pages import TranscriptItem
from runners.protocol.pruning import prune_orphan_tool_calls
from runners.sdk import RunContext

TOOL_ITEMS = frozenset({"tool_call", "tool_result"})  # LB-90
_SPOKEN = frozenset({"user", "assistant"})


@dataclass(frozen=True, slots=True)
class Talk:
    """What a model is to read: the prompt, what was said before, and this run's turn.

    The turn is the current event and what this run did since.
    """

    prompt: list[dict[str, Any]]
    checkpoint: Checkpoint | None
    earlier: list[TranscriptItem]
    turn: list[dict[str, Any]]

    def messages(self) -> list[dict[str, Any]]:
        """Return all of it, the summary of what was said long ago behind the prompt."""
        summary = [self.checkpoint.message] if self.checkpoint else []
        said = [from_history(item) for item in self.earlier]
        return [*self.prompt, *summary, *said, *self.turn]


async def build_talk(ctx: RunContext) -> Talk:
    """Return prompt, history, the current event and what this run did since.

    A run that goes on after a person decided finds its own rows in the history.
    """
    prompt = await ctx.prompt() or DEFAULT_PROMPT
    checkpoint, items = await _history(ctx)
    own = [_from_this_run(item) for item in items if _is_own(ctx, item)]
    since, _ = prune_orphan_tool_calls(own)
    earlier = [item for item in items if not _is_since(ctx, item) and is_spoken(item)]
    return Talk(prompt, checkpoint, earlier, [current_message(ctx), *since])


async def _history(ctx: RunContext) -> tuple[Checkpoint | None, list[TranscriptItem]]:
    """Return what is after the checkpoint, else the newest of all (LB-99)."""
    limit = history_limit(ctx.config)
    checkpoint = read_checkpoint(ctx) if limit else None
    if checkpoint is not None:
        items = await items_after(ctx, checkpoint)
        if items is not None:
            return checkpoint, items
    return None, await ctx.history(limit)


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


def _is_own(ctx: RunContext, item: TranscriptItem) -> bool:
    is_of_turn = item.item_type in TOOL_ITEMS or is_spoken(item)
    return is_of_turn and _is_since(ctx, item)


def _from_this_run(item: TranscriptItem) -> dict[str, Any]:
    is_tool = item.item_type in TOOL_ITEMS and item.content_json is not None
    return dict(item.content_json or {}) if is_tool else from_history(item)


def current_message(ctx: RunContext) -> dict[str, Any]:
    """Return the event as the user's message, images and files kept."""
    parts = parts_of(ctx.input, ctx.text)
    blocks = [page_of(ctx.event.data), skills_of(ctx.metadata)]
    told = "\n\n".join(filter(None, blocks))
    if parts:
        return {"role": "user", "content": [*parts, *text_part(told)]}
    if ctx.text:
        text = f"{ctx.text}\n\n{told}" if told else ctx.text
        return {"role": "user", "content": text}
    # An event without words is told as what it is, not disguised as somebody's words.
    event = {"event": ctx.event.event_type, "data": ctx.event.data}
    text = json.dumps(event, ensure_ascii=False, default=str)
    return {"role": "user", "content": f"[Event] {text}"}


def page_of(data: dict[str, Any]) -> str:
    """Return what a model is told of the page that the person looked at."""
    page = data.get("page")
    if not isinstance(page, dict) or not (page.get("url") or page.get("content")):
        return ""
    told = (page.get("url"), page.get("content"))
    return "\n".join(["<page>", *(str(one) for one in told if one), "</page>"])


def skills_of(metadata: dict[str, Any]) -> str:
    """Return what a model is told of the skills in its sender's project (LO-17)."""
    given = metadata.get("project_skills")
    skills = given if isinstance(given, list) else []
    named = [one for one in skills if isinstance(one, dict) and one.get("name")]
    if not named:
        return ""
    return "\n".join(["<available_skills>", *map(_skill, named), "</available_skills>"])


def _skill(skill: dict[str, Any]) -> str:
    """Return name, description and path in one line; more is never sent."""
    parts = (skill.get(name) or "" for name in ("name", "description", "path"))
    name, about, path = (" ".join(str(part).split()) for part in parts)
    text = f"- {name}: {about}" if about else f"- {name}"
    return f"{text} ({path})" if path else text


def from_history(item: TranscriptItem) -> dict[str, Any]:
    """Return something said earlier as a message."""
    return {"role": item.role, "content": item.text}
