"""Counts refused host calls in memory, so that a flood of them costs nothing.

Granted calls never come here. Each counter belongs to one loop; what it holds is
merged and written every few seconds and at the end of a run (LB-165).
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from runners.ledger.refusal_counts import Key, Refusal, merged
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode

FLUSH_SECONDS: Final = 5.0
UNKNOWN_ACTION: Final = "?"  # whatever it was called: names cost rows

_COUNTED: Final = frozenset(
    {
        ErrorCode.ACTION_NOT_FOUND,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.PERMISSION_DENIED,
        ErrorCode.NOT_FOUND,
        ErrorCode.CONFLICT,
        ErrorCode.TOO_LARGE,
        ErrorCode.RATE_LIMITED,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.RUN_NOT_ACTIVE,
    }
)
# Their `not_found` is how a plugin learns that it has kept nothing yet.
_LOOKUPS: Final = frozenset(
    {
        Action.GET_PLUGIN_STORAGE,
        Action.DELETE_PLUGIN_STORAGE,
        Action.GET_WORKSPACE_STORAGE,
        Action.DELETE_WORKSPACE_STORAGE,
    }
)
_ACTIONS: Final = frozenset(str(action) for action in Action)


class RefusalCounter:
    """At most `most` different (run, action, code); a new one beyond is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[Key, Refusal] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(
        self,
        run_id: UUID,
        action: str,
        code: str,
        plugin: str = "",
        workspace_id: int | None = None,
    ) -> None:
        """Count one refused call, unless the code says that it failed otherwise."""
        if code not in _COUNTED or (code == ErrorCode.NOT_FOUND and action in _LOOKUPS):
            return
        now = datetime.now(UTC)
        name = str(action) if action in _ACTIONS else UNKNOWN_ACTION
        one = Refusal(run_id, name, str(code), 1, now, now, plugin, workspace_id)
        earlier = self._counts.get(one.key)
        if earlier is not None:
            self._counts[one.key] = earlier.plus(one)
        elif len(self._counts) < self._most:
            self._counts[one.key] = one

    def take(self) -> list[Refusal]:
        """Return what was counted, and forget it."""
        found, self._counts = list(self._counts.values()), {}
        return found

    def put_back(self, refusals: list[Refusal]) -> None:
        """Count again what could not be written."""
        both = merged([*refusals, *self._counts.values()])[: self._most]
        self._counts = {one.key: one for one in both}
