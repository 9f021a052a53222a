"""One open socket to the host: frames out in order, answers to the calls they answer.

All methods belong to the socket's event loop.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import (
    FrameError,
    Request,
    Response,
    build_error,
    build_request,
    parse_frame,
)
from runners.sdk.api import HostCallError

MAX_UNSENT_BYTES: Final = 1024 * 1024  # over it runners wait for the socket
MAX_BUFFERED_BYTES: Final = 8 * 1024 * 1024  # of one unread stream; wire 2.4

logger = logging.getLogger(__name__)


class Outbox:
    """Frames waiting for the socket. One writer sends all that waits in one go."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._wake.set()
        if self._bytes > MAX_UNSENT_BYTES:
            self._has_room.clear()

    @property
    def is_full(self) -> bool:
        return not self._has_room.is_set()

    async def wait_for_room(self) -> None:
        await self._has_room.wait()

    async def write_to(self, socket: ClientConnection) -> None:
        """Send for ever; raises ConnectionClosed when the socket is gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Every frame stays a message of its own; only the system call is shared.
            async with socket.send_context():
                while self._frames and not self._has_sent_enough(socket):
                    frame = self._frames.popleft()
                    self._bytes -= len(frame)
                    socket.protocol.send_text(frame)
            if self._frames:
                self._wake.set()
            if self._bytes <= MAX_UNSENT_BYTES:
                self._has_room.set()
