"""history_page and get_prompt (`wire.md` §6, LB-73)."""

from typing import Any, Literal

from pydantic import Field

from langbot.lib.conf import limits
from runners.host_api.calls import CallData, HostCall
from runners.ledger.history import transcript_page, wire_item
from runners.protocol.errors import ErrorCode, ProtocolError


class PageRequest(CallData):
    conversation_id: str | None = None
    before_cursor: str | int | None = None
    after_cursor: str | int | None = None
    limit: int = Field(default=50, ge=1)
    direction: Literal["backward", "forward"] = "backward"
    include_attachments: bool = True


async def history_page(call: HostCall) -> dict[str, Any]:
    """Return a page of the run's own conversation."""
    data = call.read(PageRequest)
    own = call.facts.conversation_public_id
    page = await call.database(
        transcript_page,
        call.facts.conversation_id,
        before=_seq(data.before_cursor),
        after=_seq(data.after_cursor),
        limit=min(data.limit, limits().history_page),
        direction=data.direction,
    )
    items = [wire_item(item, own) for item in page.items]
    if not data.include_attachments:
        items = [{**item, "attachment_refs": []} for item in items]
    return {
        "items": items,
        "next_cursor": _cursor(page.next_seq),
        "prev_cursor": _cursor(page.previous_seq),
        "has_more": page.has_more,
        "total_count": None,
    }


async def get_prompt(call: HostCall) -> dict[str, Any]:
    """Return the agent's prompt as messages; a plain text is one system message."""
    prompt = call.facts.snapshot["runner_config"].get("prompt") or []
    if isinstance(prompt, str):
        prompt = [{"role": "system", "content": prompt}]
    return {"prompt": prompt}


def _seq(cursor: str | int | None) -> int | None:
    if cursor is None or cursor == "":
        return None
    try:
        return int(cursor)
    except ValueError:
        message = "the cursor is not one of ours"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message) from None


def _cursor(seq: int | None) -> str | None:
    return str(seq) if seq is not None else None
