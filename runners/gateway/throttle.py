"""Slows reconnect storms: the SDK reconnects at once, 350 times in 55 s (wire 1.3)."""

import time
from collections import OrderedDict

BURST = 40
PER_SECOND = 4.0
_REMEMBERED = 10_000


class ConnectThrottle:
    """A token bucket per key; not thread-safe, one per loop."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def knows(self, key: str) -> bool:
        """Whether `key` has connected lately."""
        return key in self._buckets

    def has_room(self, key: str) -> bool:
        """Whether `admits` would admit; takes nothing."""
        return self._tokens(key, time.monotonic()) >= 1

    def admits(self, key: str) -> bool:
        """Take one connect of `key`; False when it has to come back later."""
        now = time.monotonic()
        tokens = self._tokens(key, now)
        self._buckets.pop(key, None)
        admitted = tokens >= 1
        self._buckets[key] = (tokens - 1 if admitted else tokens, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return admitted

    def _tokens(self, key: str, now: float) -> float:
        tokens, then = self._buckets.get(key, (float(BURST), now))
        return min(float(BURST), tokens + (now - then) * PER_SECOND)
