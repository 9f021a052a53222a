"""Cursors of pages: opaque to runners, numbers to us."""

from collections.abc import Sequence
from typing import Any

from runners.protocol.errors import ErrorCode, ProtocolError

NO_END = 2**63 - 1  # no key is as high


def key_of(cursor: str | int | None, default: int) -> int:
    """Return the number of a cursor; raises invalid_request for none of ours."""
    if cursor is None or cursor == "":
        return default
    try:
        return max(0, min(int(cursor), NO_END))
    except ValueError:
        message = "the cursor is not one of ours"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message) from None


def page_of(
    items: Sequence[dict[str, Any]],
    *,
    has_more: bool,
    total_count: int | None = None,
    name: str = "seq",
) -> dict[str, Any]:
    """Return a page whose items have their cursor's number under `name`."""
    return {
        "items": list(items),
        "next_cursor": str(items[-1][name]) if items and has_more else None,
        "prev_cursor": str(items[0][name]) if items else None,
        "has_more": has_more,
        "total_count": total_count,
    }
