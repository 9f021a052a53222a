"""The effects of a run's host calls that are under way outside our database.

A run does not pause in the middle of one: nobody would know how it went. The journal
has what began, so that a runner that goes on after a pause finds the outcome even where
it had not told of it yet.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

_TELL_SECONDS = 1.0  # for the runner's own word about a call that just ended


class Effects:
    """Used on the engine's loop only."""

    def __init__(self) -> None:
        self._open = 0
        self._last_end = -inf

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Note an effect for as long as it takes."""
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
