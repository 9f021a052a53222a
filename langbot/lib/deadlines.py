"""A bound on the whole of an outbound call, whatever its steps take.

A timeout bounds one read or write, so a peer that answers drop by drop is never late.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

_PIECE = 16 * 1024


class Deadline:
    """When a whole call must be over."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self, timeout: float | None, late: type[Exception]) -> float:
        """Return what a step may take; raises `late` when nothing is left."""
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            message = "the whole call took too long"
            raise late(message)
        return seconds if timeout is None else min(seconds, timeout)


# Of the call that this thread is in: pooled connections serve one call after another.
_call: ContextVar[Deadline] = ContextVar("outbound_call")


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Make it the deadline of this thread's call."""
    token = _call.set(deadline)
    try:
        yield
    finally:
        _call.reset(token)


def current() -> Deadline:
    """Return the deadline of the call that this thread is in."""
    return _call.get()


@asynccontextmanager
async def bounded(deadline: Deadline) -> AsyncIterator[None]:
    """Do a part of an asyncio call; raises httpx2.ReadTimeout at the deadline."""
    seconds = deadline.left(None, httpx2.ReadTimeout)
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        message = "the whole call took too long"
        raise httpx2.ReadTimeout(message) from None


class BoundedStream(httpcore2.NetworkStream):
    """A connection whose every step ends with the call."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = current().left(timeout, httpcore2.ReadTimeout)
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: a receiver may take a few bytes at a time.
        for start in range(0, len(buffer), _PIECE):
            left = current().left(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE], left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = current().left(timeout, httpcore2.ConnectTimeout)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()
