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

    def admits(self, key: str) -> bool:
        """Take one connect of `key`; False when it has to come back later."""
        now = time.monotonic()
        tokens, then = self._buckets.pop(key, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - then) * PER_SECOND)
        admitted = tokens >= 1
        self._buckets[key] = (tokens - 1 if admitted else tokens, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return admitted
