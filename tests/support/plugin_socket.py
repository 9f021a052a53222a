"""The plugin's side of the plugin socket, frame by frame, without any SDK."""

import asyncio
import itertools
import json
import random
from contextlib import suppress
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

TOKEN_HEADER = "X-LangBot-Plugin-Debug-Key"
FRAME_LIMIT = 16 * 1024 * 1024
# The host admits 4 connects a second (`throttle.PER_SECOND`).
_REFUSED_SECONDS = 0.25

Frame = dict[str, Any]


class HostCallError(Exception):
    """Carry the error answer to a host call.

    `code` is the typed error's code, or None where the host gave no typed error.
    """

    def __init__(self, frame: Frame):
        super().__init__(frame["message"])
        self.frame = frame
        error = frame["data"].get("error", frame["data"])
        self.code: str | None = error.get("code")
        self.retryable = bool(error.get("retryable"))


class PluginSocket:
    """One connection to a host: requests go out numbered, answers come back to them.

    Requests of the host wait in `requests`; nothing answers them by itself.
    """

    def __init__(self, url: str, token: str, *, header: bool = True):
        self.url = url
        self.token = token
        self.requests: asyncio.Queue[Frame] = asyncio.Queue()
        self.unmatched: list[Any] = []
        self.closed = asyncio.Event()
        self._headers = {TOKEN_HEADER: token} if header else {}
        self._numbers = itertools.count(random.randrange(100_000))  # noqa: S311 - as the SDK, not a secret
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def socket(self) -> ClientConnection:
        """Return the open WebSocket."""
        assert self._socket is not None, "the socket is not open"
        return self._socket

    async def open(self, *, read: bool = True) -> None:
        """Connect; `read=False` leaves the host's frames unread on the socket.

        Raises websockets' InvalidStatus when the host refuses the header key.
        """
        self._socket = await connect(
            self.url,
            additional_headers=self._headers,
            max_size=FRAME_LIMIT,
            proxy=None,
        )
        self.closed.clear()
        if read:
            self.read_on()

    async def open_when_admitted(self) -> None:
        """Connect as soon as the host lets this plugin in again after a storm."""
        while True:
            with suppress(InvalidStatus):
                await self.open()
                return
            await asyncio.sleep(_REFUSED_SECONDS)

    def read_on(self) -> None:
        """Start reading the host's frames."""
        self._reader = asyncio.create_task(self._read())

    def stop_reading(self) -> None:
        """Leave everything from here on unread until `read_on`."""
        if self._reader is not None:
            self._reader.cancel()

    async def close(self) -> None:
        """Close the socket in an orderly way."""
        if self._socket is not None and not self._is_closed():
            await self._socket.close()
        await self._stop_reader()

    async def abort(self) -> None:
        """Drop the connection without a closing handshake, as a dead process does."""
        self.socket.transport.abort()
        await self._stop_reader()

    async def _stop_reader(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    async def send_text(self, text: str) -> None:
        """Send any text as one WebSocket message.

        Raises ConnectionClosed while the socket is being closed, ConnectionError after.
        """
        if self._is_closed():
            raise ConnectionError("the host closed the socket")
        await self.socket.send(text)

    async def send(self, frame: Frame) -> None:
        """Send one frame as JSON."""
        await self.send_text(json.dumps(frame))

    async def call(
        self, action: str, data: Frame | None = None, *, timeout_seconds: float = 15.0
    ) -> Frame:
        """Send a request and return the answer's data.

        Raises HostCallError, TimeoutError, or ConnectionError when the socket closes.
        """
        number = next(self._numbers)
        waiting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            await self.send({"seq_id": number, "action": action, "data": data or {}})
            frame = await asyncio.wait_for(waiting, timeout_seconds)
        finally:
            del self._waiting[number]
        if frame["code"] != 0:
            raise HostCallError(frame)
        return dict(frame["data"])

    async def reply(
        self, request: Frame, data: Frame | None = None, chunk: str = "continue"
    ) -> None:
        """Answer a request of the host, or send one chunk of a stream."""
        await self.send(
            {
                "seq_id": request["seq_id"],
                "code": 0,
                "message": "success",
                "data": data or {},
                "chunk_status": chunk,
            }
        )

    async def refuse(self, request: Frame, message: str) -> None:
        """Answer a request of the host with an error, which also ends a stream."""
        await self.send(
            {
                "seq_id": request["seq_id"],
                "code": 1,
                "message": message,
                "data": {},
                "chunk_status": "continue",
            }
        )

    async def next_request(self, *actions: str, timeout_seconds: float = 15.0) -> Frame:
        """Return the host's next request; others than `actions` are passed over."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                request = await self.requests.get()
                if not actions or request["action"] in actions:
                    return request

    async def register(self, container: Frame) -> None:
        """Register the plugin; raises HostCallError when it is refused."""
        data = {
            "plugin_container": container,
            "prod_mode": False,
            "plugin_debug_key": self.token,
            "registration_capability": "",
        }
        await self.call("register_plugin", data)

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            if self._is_closed():
                self._fail_waiting()

    def _is_closed(self) -> bool:
        return self.socket.close_code is not None

    def _fail_waiting(self) -> None:
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the host closed the socket"))

    def _take(self, frame: Any) -> None:
        waiting = self._waiting.get(frame.get("seq_id")) if "code" in frame else None
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)
        elif "action" in frame:
            self.requests.put_nowait(frame)
        else:
            self.unmatched.append(frame)
