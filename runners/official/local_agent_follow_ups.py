"""What people say while the agent works: pulled after its tools and before it ends."""

from collections.abc import Sequence
from typing import Any, Final

from runners.official.local_agent_files import parts_of
from runners.sdk import HostCallError, RunContext
from runners.sdk.answers import SteeringItem

MESSAGE_CHARACTERS: Final = 2000  # of one message, AG-13
BLOCK_CHARACTERS: Final = 6000  # of all of them, AG-13
# AG-17. The model reads it where it matters, so that no prompt is changed.
_RULES: Final = (
    "The person said this while you were working. Acknowledge it in a short visible "
    "sentence before any further tool call; then answer it, fold it in, or take it as "
    "a correction. Never repeat these tags, and end your turn with at least one short "
    "visible sentence."
)


async def pull(ctx: RunContext) -> list[SteeringItem]:
    """Take what was said since the last pull; nothing where the host gives nothing."""
    if not ctx.raw.context.available_apis.steering_pull:
        return []
    try:
        return await ctx.api.steering_pull()
    except HostCallError:
        return []  # what was not taken is answered by the next turn


def follow_up_block(items: Sequence[SteeringItem]) -> str:
    """Return numbered messages within their bounds, and how many were left out."""
    shown: list[str] = []
    room = BLOCK_CHARACTERS
    for number, item in enumerate(items, 1):
        text = _numbered(number, item)
        if len(text) > room:
            shown.append(f"({len(items) - number + 1} more messages were left out)")
            break
        shown.append(text)
        room -= len(text)
    body = "\n".join(shown)
    return f"<user_follow_up>\n{_RULES}\n{body}\n</user_follow_up>"


def between_rounds(items: Sequence[SteeringItem]) -> list[dict[str, Any]]:
    """Return what a model reads behind its tools' answers (AG-12)."""
    return [{"role": "user", "content": follow_up_block(items)}] if items else []


def plain_messages(items: Sequence[SteeringItem]) -> list[dict[str, Any]]:
    """Return messages as they were said, for a model that has just answered."""
    return [{"role": "user", "content": _content(item)} for item in items]


def _numbered(number: int, item: SteeringItem) -> str:
    text = item.text
    if len(text) > MESSAGE_CHARACTERS:
        text = f"{text[:MESSAGE_CHARACTERS]}…"
    files = ", ".join(one.id for one in item.input.attachments if one.id)
    page = item.event.data.get("page")
    address = page.get("url") if isinstance(page, dict) else None
    more = [f"page: {address}"] if address else []
    more += [f"files: {files}"] if files else []
    return f"{number}. {text} ({'; '.join(more)})" if more else f"{number}. {text}"


def _content(item: SteeringItem) -> Any:
    return parts_of(item.input, item.text) or item.text
