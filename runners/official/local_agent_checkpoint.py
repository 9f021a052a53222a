"""The compaction checkpoint of a conversation: a summary up to one row (LB-99)."""

import time
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runners.protocol.pages import TranscriptItem
from runners.sdk import HostCallError, RunContext
from runners.sdk.context import MAX_HISTORY_PAGE

KEY: Final = "runner.compaction.checkpoint"
SCHEMA: Final = "langbot.local_agent.compaction_checkpoint.v1"
MOST_ITEMS: Final = 1000  # behind a checkpoint; more is a checkpoint of no use


class Checkpoint(BaseModel):
    """What is kept. `covers_until` is a transcript cursor, the time epoch seconds."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    schema_version: Literal["langbot.local_agent.compaction_checkpoint.v1"] = SCHEMA
    summary: str
    covers_until: str
    tokens_before: int
    created_at: int
    conversation_id: str

    @property
    def message(self) -> dict[str, Any]:
        """What a model reads of it; people's words, so no message of the system's."""
        content = f"<conversation_summary>\n{self.summary}\n</conversation_summary>"
        return {"role": "user", "content": content}


def is_compacting(ctx: RunContext) -> bool:
    """Whether this run has a state to keep checkpoints in, and the setting is on."""
    is_on = ctx.config.get("context-compaction") is not False
    has_place = ctx.raw.context.available_apis.state
    return is_on and has_place and bool(ctx.conversation.conversation_id)


def read_checkpoint(ctx: RunContext) -> Checkpoint | None:
    """Return this conversation's checkpoint; None for any that is not of our making."""
    if not is_compacting(ctx):
        return None
    try:
        found = Checkpoint.model_validate(ctx.state.conversation.get(KEY))
    except ValidationError:
        return None
    is_ours = found.conversation_id == ctx.conversation.conversation_id
    return found if is_ours else None


def make_checkpoint(
    ctx: RunContext, summary: str, last: TranscriptItem, tokens: int
) -> Checkpoint:
    """Return the checkpoint of all up to `last`; `tokens` is what they were part of."""
    return Checkpoint(
        summary=summary,
        covers_until=cursor_of(last),
        tokens_before=tokens,
        created_at=int(time.time()),
        conversation_id=str(ctx.conversation.conversation_id),
    )


async def is_unchanged(ctx: RunContext) -> bool:
    """Whether the kept value is the one that this run began with."""
    return bool(await ctx.api.state_get(KEY) == ctx.state.conversation.get(KEY))


async def keep(ctx: RunContext, checkpoint: Checkpoint) -> None:
    """Keep it, unless another run kept one meanwhile.

    Host calls set without a version, so it is compared just before it is set.
    """
    if await is_unchanged(ctx):
        await ctx.api.state_set(KEY, checkpoint.model_dump())


async def items_after(
    ctx: RunContext, checkpoint: Checkpoint
) -> list[TranscriptItem] | None:
    """Return what was said after a checkpoint, oldest first, without the current event.

    None where its cursor leads nowhere any more: the conversation began anew, or that
    row was replaced or removed, and so may be what the summary tells.
    """
    try:
        found = await _from(ctx, int(checkpoint.covers_until) - 1)
    except (HostCallError, ValueError):
        return None
    if not found or cursor_of(found[0]) != checkpoint.covers_until:
        return None
    return [item for item in found[1:] if item.event_id != ctx.event.event_id]


async def _from(ctx: RunContext, seq: int) -> list[TranscriptItem]:
    found: list[TranscriptItem] = []
    cursor: str | None = str(seq)
    while cursor is not None and len(found) < MOST_ITEMS:
        page = await ctx.api.history_page(
            after_cursor=cursor, limit=MAX_HISTORY_PAGE, direction="forward"
        )
        found += page.items
        cursor = page.next_cursor if page.has_more and page.items else None
    return found if cursor is None else []


def cursor_of(item: TranscriptItem) -> str:
    return item.cursor or str(item.seq)
