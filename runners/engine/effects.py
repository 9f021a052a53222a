"""The effects of a run's host calls that are under way outside our database.

A run does not pause in the middle of one: nobody would know how it went. What began is
remembered by the model's name of the call, so that a runner that goes on after a pause
finds the outcome even where it had not told of it yet.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from runners.ledger.pausing import call_id_of

_TELL_SECONDS = 1.0  # for the runner's own word about a call that just ended
_MOST_KEPT = 500  # calls of one invocation


class Effects:
    """Used on the engine's loop only."""

    def __init__(self) -> None:
        self._open = 0
        self._last_end = -inf
        self.calls: dict[str, dict[str, Any]] = {}  # `pausing.CALLS`

    @contextmanager
    def under_way(self, seq_id: int, data: dict[str, Any]) -> Iterator[None]:
        """Note an effect for as long as it takes."""
        call_id = call_id_of(data)
        if call_id and len(self.calls) < _MOST_KEPT:
            name = str(data.get("tool_name"))
            self.calls[call_id] = {"call": seq_id, "tool_name": name}
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last_end = time.monotonic()

    def seconds_left(self) -> float:
        """Return how long the run should not pause yet; `inf` while one is open."""
        if self._open:
            return inf
        return max(0.0, self._last_end + _TELL_SECONDS - time.monotonic())
