"""Token buckets in Redis. Without it everybody passes, and the log says so (C-45)."""

import logging
from typing import Any

from langbot.lib.redis import FAILURES, quick_client, rate_limit

logger = logging.getLogger(__name__)

# The stored value is the time at which the bucket will be full again, in ms of the
# server's clock; it lives exactly until then.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local step = tonumber(ARGV[2]) / tonumber(ARGV[1])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + step
local wait = math.ceil(full_at - now - tonumber(ARGV[2]))
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX',
           math.ceil(full_at - now))
return 0
"""


def seconds_to_wait(name: str, tokens: int, period_seconds: float) -> float:
    """Take a token of a bucket that refills `tokens` in a period.

    Returns 0 when there was one, else the seconds until there is.
    """
    key = rate_limit(name)
    try:
        wait: Any = quick_client().eval(_TAKE, 1, key, tokens, period_seconds * 1000)
    except FAILURES as error:
        logger.warning("rate limit %s not checked: %s", name, type(error).__name__)
        return 0.0
    return int(wait) / 1000
