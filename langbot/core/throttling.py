"""How often one user may change things, with the headers that say so.

Rates are REST framework's `DEFAULT_THROTTLE_RATES`: `messages` for what starts or
queues a run, `writes` for every other change. No rate, no limit; reading is free.
"""

import math
from collections.abc import Mapping
from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from langbot.lib import buckets

SCOPE = "writes"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class CallThrottle(BaseThrottle):
    """A token bucket per user and `throttle_scope` of the view; open without Redis."""

    wait_seconds: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        """Take a token; the answer gets `RateLimit` and `RateLimit-Policy`."""
        if request.method in SAFE_METHODS:
            return True
        scope = getattr(view, "throttle_scope", None) or SCOPE
        rates: Mapping[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        rate = read_rate(rates.get(scope))
        if rate is None:
            return True
        taken = buckets.take(f"{scope}:user:{request.user.pk}", *rate)
        if taken is None:
            return True
        view.headers.update(_headers(scope, rate, taken))
        self.wait_seconds = taken.wait_seconds
        return not taken.wait_seconds

    def wait(self) -> float | None:
        return self.wait_seconds


def read_rate(text: str | None) -> tuple[int, int] | None:
    """Return (calls, seconds) of `600/min`; None for no rate.

    Raises ValueError for anything else.
    """
    if not text:
        return None
    number, _slash, period = text.partition("/")
    if period[:1] not in _SECONDS or int(number) < 1:
        message = f"not a rate such as 600/min: {text}"
        raise ValueError(message)
    return int(number), _SECONDS[period[0]]


def _headers(scope: str, rate: tuple[int, int], taken: buckets.Taken) -> dict[str, str]:
    # draft-ietf-httpapi-ratelimit-headers: q a quota in w seconds, r what is left,
    # t seconds until more is there.
    reset = math.ceil(taken.wait_seconds or taken.full_in_seconds)
    return {
        "RateLimit-Policy": f'"{scope}";q={rate[0]};w={rate[1]}',
        "RateLimit": f'"{scope}";r={taken.remaining};t={reset}',
    }
