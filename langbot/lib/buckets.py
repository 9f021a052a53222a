"""Token buckets: in Redis, where several processes share one, and in memory.

Without Redis everybody passes the shared ones, and the log says so (C-45).
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from langbot.lib.redis import FAILURES, quick_client, rate_limit

logger = logging.getLogger(__name__)

# The stored value is the time at which the bucket will be full again, in ms of the
# server's clock; it lives exactly until then.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local period = tonumber(ARGV[2])
local step = period / tonumber(ARGV[1])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = math.ceil(full_at + step - now - period)
if wait > 0 then return {wait, 0, math.ceil(full_at - now)} end
full_at = full_at + step
redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX',
           math.ceil(full_at - now))
local left = math.floor((period - (full_at - now)) / step + 0.001)
return {0, left, math.ceil(full_at - now)}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket said: a token was there when `wait_seconds` is 0."""

    wait_seconds: float
    remaining: int
    full_in_seconds: float


def take(name: str, tokens: int, period_seconds: float) -> Taken | None:
    """Take a token of a bucket that refills `tokens` in a period.

    None when Redis did not answer: the caller passes.
    """
    key = rate_limit(name)
    try:
        found: Any = quick_client().eval(_TAKE, 1, key, tokens, period_seconds * 1000)
    except FAILURES as error:
        logger.warning("rate limit %s not checked: %s", name, type(error).__name__)
        return None
    wait, remaining, full = map(int, found)
    return Taken(wait / 1000, remaining, full / 1000)


class LocalBucket:
    """A token bucket of one process; not thread-safe, one per loop.

    Holds `burst` tokens at first and at most, and gets `per_second` back.
    """

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = self._tokens = float(burst)
        self._at = time.monotonic()

    def take(self, tokens: float = 1) -> float:
        """Take tokens and return 0, or the seconds until there are as many."""
        now = time.monotonic()
        refilled = self._tokens + (now - self._at) * self._per_second
        self._at, self._tokens = now, min(self._burst, refilled)
        if self._tokens < tokens:
            return (tokens - self._tokens) / self._per_second
        self._tokens -= tokens
        return 0.0
