"""Bounded buffers between a connection and its ASGI application.

Reading pauses while an application has more than `UNREAD_HIGH` bytes to take; its
`send` waits while the client has more than `OUTGOING_HIGH` bytes to take.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from twisted.internet import interfaces
from zope.interface import implementer  # type: ignore[import-untyped]  # ships none

UNREAD_HIGH = 4 * 2**20  # architecture.md §1
UNREAD_LOW = 2**20  # architecture.md §1
OUTGOING_HIGH = 256 * 2**10  # architecture.md §1
STALL_SECONDS = 10  # longer pauses trip the SDK's keepalive, architecture.md §1
STALL_REPEAT_SECONDS = 1
BODY_CHUNK = 64 * 2**10
# Memory of an empty message: its dict, its strings and its place in the queue. Without
# it a flood of one-byte messages would count as almost nothing.
MESSAGE_OVERHEAD = 400
# Twisted's own mark for a full buffer, from which on we are told and count.
TRANSPORT_HIGH = 64 * 2**10

Message = dict[str, Any]


class Backpressure:
    """Count what a connection received and its application has not read yet.

    The application finds it as `scope["extensions"]["langbot.backpressure"]` and may
    set `on_stall`: called in the event loop with `{"type": "langbot.read_stalled",
    "unread_bytes": n}` after 10 s of one pause and each second from then on, whether
    or not the application is reading. Reading resumes below the lower mark only.

    It may also set `take`: called with the text of a message that would not have to
    wait for another one; true when the application has handled it at once, which
    costs a fifth of what the queue and a task's turn do.
    """

    __slots__ = ("_timer", "_transport", "on_stall", "paused", "take", "unread_bytes")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self.on_stall: Callable[[Message], None] | None = None
        self.take: Callable[[str], bool] | None = None
        self.paused = False
        self.unread_bytes = 0

    def received(self, size: int) -> None:
        self.unread_bytes += size
        if self.unread_bytes > UNREAD_HIGH and not self.paused:
            self.paused = True
            self._transport.pauseProducing()
            self._watch(STALL_SECONDS)

    def taken(self, size: int) -> None:
        self.unread_bytes -= size
        if self.paused and self.unread_bytes < UNREAD_LOW:
            self.close()
            self._transport.resumeProducing()

    def close(self) -> None:
        """End the pause without reading again."""
        self.paused = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._stalled)

    def _stalled(self) -> None:
        self._watch(STALL_REPEAT_SECONDS)  # first, so that a failing callback repeats
        if self.on_stall is not None:
            unread = self.unread_bytes
            self.on_stall({"type": "langbot.read_stalled", "unread_bytes": unread})


class SocketQueue(asyncio.Queue[Message]):
    """The messages of one WebSocket, counted."""

    def __init__(self, backpressure: Backpressure) -> None:
        super().__init__()
        self._backpressure = backpressure
        self._messages: deque[tuple[Message, int]] = deque()

    def _put(self, item: Message) -> None:
        payload = item.get("text") or item.get("bytes")
        size = MESSAGE_OVERHEAD + sys.getsizeof(payload)
        self._messages.append((item, size))
        self._backpressure.received(size)

    def _get(self) -> Message:
        message, size = self._messages.popleft()
        self._backpressure.taken(size)
        return message

    def qsize(self) -> int:
        return len(self._messages)

    def empty(self) -> bool:
        return not self._messages


class BodyQueue(asyncio.Queue[Message]):
    """The body of one HTTP request, read when asked for, then its disconnect.

    Twisted has spooled the body to a file; daphne would read all of it into memory.
    """

    def __init__(self, body: IO[bytes]) -> None:
        super().__init__()
        self._body: IO[bytes] | None = body

    def put_nowait(self, item: Message) -> None:
        if item["type"] != "http.request":
            self._close()
            super().put_nowait(item)

    async def get(self) -> Message:
        if self._body is None:
            return await super().get()
        chunk = self._body.read(BODY_CHUNK)
        more_body = len(chunk) == BODY_CHUNK
        if not more_body:
            self._close()
        return {"type": "http.request", "body": chunk, "more_body": more_body}

    def _close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


@implementer(interfaces.IPushProducer)
class OutgoingGate:
    """Hold the application's `send` while the transport's buffer is full.

    Twisted calls `pauseProducing` when its buffer passes `TRANSPORT_HIGH` and
    `resumeProducing` when it is empty; in between the gate counts what is added.
    """

    def __init__(self) -> None:
        self.is_full = False
        self.excess = 0
        self.waiting = 0
        self._turn = asyncio.Lock()
        self._emptied: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        return not self.waiting and self.excess <= OUTGOING_HIGH - TRANSPORT_HIGH

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.is_full = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.is_full = False
        self.excess = 0
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    stopProducing = resumeProducing  # noqa: N815 - Twisted's name

    def written(self, message: Message) -> None:
        """Count a message that has just been handed to the transport."""
        if self.is_full:
            payload = message.get("body") or message.get("text") or message.get("bytes")
            self.excess += len(payload or b"")

    async def wait_turn(self, write: Callable[[], None]) -> None:
        """Write when the buffer has room, in the order of the calls."""
        self.waiting += 1
        try:
            async with self._turn:
                while self.excess > OUTGOING_HIGH - TRANSPORT_HIGH:
                    self._emptied = asyncio.get_running_loop().create_future()
                    await self._emptied
                write()
        finally:
            self.waiting -= 1
