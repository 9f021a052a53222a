"""Names of events on every platform (LB-03), and ids for them (LB-05)."""

import hashlib
import re
from typing import Final

MESSAGE_RECEIVED: Final = "message.received"
MESSAGE_RECALLED: Final = "message.recalled"
MEMBER_JOINED: Final = "group.member_joined"
FRIEND_REQUESTED: Final = "friend.request_received"
SCHEDULE_TRIGGERED: Final = "schedule.triggered"
API_INVOKED: Final = "api.invoked"

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_MISSING_IDS = frozenset({"", "-1"})
_SEPARATOR = "\x1f"  # no part contains it, so different parts never join alike


def is_event_name(name: str) -> bool:
    """Whether `name` is a dotted lower-case event name of at most 100 characters."""
    return len(name) <= 100 and _NAME.fullmatch(name) is not None  # noqa: PLR2004 - the column's length


def has_id(message_id: str) -> bool:
    """Whether the platform really named the message; -1 means it did not."""
    return message_id not in _MISSING_IDS


def scoped_event_id(*parts: str) -> str:
    """Return the event id of an id that is unique only within its place."""
    joined = _SEPARATOR.join(part.replace(_SEPARATOR, " ") for part in parts)
    return f"host:{hashlib.sha256(joined.encode()).hexdigest()[:32]}"
