"""How long an effect of a host call may take."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from langbot.lib.conf import limits
from runners.host_api.calls import HostCall
from runners.protocol.errors import ErrorCode, ProtocolError

T = TypeVar("T")


def allowed_seconds(call: HostCall, most: float | None = None) -> float:
    """Return the seconds that are left: 170, never beyond the run's deadline."""
    left = call.seconds_left()
    if left <= 0:
        message = "the run's deadline passed"
        raise ProtocolError(ErrorCode.DEADLINE_EXCEEDED, message)
    return min(float(most or limits().tool_call_seconds), left)


async def within(seconds: float, effect: Awaitable[T]) -> T:
    """Await an effect; raises `deadline_exceeded`, and it may have happened then."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await effect
    except TimeoutError:
        if not limit.expired():
            raise
        message = f"no answer within {seconds:.3g} s; it may have had its effect"
        code, details = ErrorCode.DEADLINE_EXCEEDED, {"outcome": "unknown"}
        raise ProtocolError(code, message, details=details) from None
