import asyncio
import contextlib
import time
import uuid
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from runners.protocol.frames import (
    Request,
    Response,
    build_request,
    build_response,
    encode,
    parse_frame,
)
from runners.sdk.host import KEY_HEADER, Settings, keep_connected
from runners.sdk.plugin import Plugin

KEY = "k" * 40
PATIENCE = 10


def run_context(**parts: Any) -> dict[str, Any]:
    return {
        "run_id": str(uuid.uuid4()),
        "trigger": {"type": "message.received"},
        "event": {"event_id": "e1", "event_type": "message.received", "source": "t"},
        "input": {"text": "hello host"},
        "delivery": {"surface": "test", "supports_streaming": True},
        "resources": {},
        "context": {"available_apis": {"history_page": True, "prompt_get": True}},
        "state": {},
        "runtime": {"deadline_at": time.time() + 60},
    } | parts


class HostSide:
    """The host's end of one plugin socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.key = socket.request.headers.get(KEY_HEADER) if socket.request else None
        self._seq_id = 1000

    async def receive(self) -> Request | Response:
        async with asyncio.timeout(PATIENCE):
            return parse_frame(await self.socket.recv(decode=False))

    async def request(self, action: str, data: dict[str, Any] | None = None) -> int:
        self._seq_id += 1
        frame = build_request(self._seq_id, action, data or {})
        await self.socket.send(frame, text=True)
        return self._seq_id

    async def ask(self, action: str, data: dict[str, Any] | None = None) -> Response:
        seq_id = await self.request(action, data)
        answer = await self.receive()
        assert isinstance(answer, Response)
        assert answer.seq_id == seq_id
        return answer

    async def answer(self, request: Request, data: dict[str, Any]) -> None:
        await self.socket.send(build_response(request.seq_id, data), text=True)

    async def refuse(self, request: Request, code: str, **error: Any) -> None:
        body = {"error": {"code": code, "message": code, **error}}
        frame = {"seq_id": request.seq_id, "code": 1, "message": code, "data": body}
        await self.socket.send(encode(frame), text=True)

    async def handshake(self) -> dict[str, Any]:
        request = await self.receive()
        assert isinstance(request, Request)
        assert request.action == "register_plugin"
        await self.answer(request, {})
        settings = {"enabled": True, "priority": 0, "plugin_config": {}}
        await self.ask("initialize_plugin", {"plugin_settings": settings})
        return (await self.ask("get_plugin_container")).data

    async def start(self, name: str = "default", **parts: Any) -> int:
        context = run_context(**parts)
        data = {"runner_name": name, "context": context}
        return await self.request("run_runner", data)

    async def results(self, seq_id: int) -> list[dict[str, Any]]:
        """Return what is left of a stream; fails on frames of anything else."""
        found: list[dict[str, Any]] = []
        while True:
            frame = await self.receive()
            assert isinstance(frame, Response), frame
            assert frame.seq_id == seq_id
            assert not frame.is_error, frame
            if frame.is_end:
                return found
            found.append(frame.data)

    async def expect_silence(self, seconds: float = 0.2) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                pytest.fail(f"unexpected {await self.socket.recv()!r}")


class HostServer:
    def __init__(self) -> None:
        self.sockets: asyncio.Queue[HostSide] = asyncio.Queue()
        self.url = ""

    async def accepted(self) -> HostSide:
        async with asyncio.timeout(PATIENCE):
            return await self.sockets.get()

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.put_nowait(HostSide(socket))
        with contextlib.suppress(ConnectionClosed):
            await socket.wait_closed()


@pytest.fixture
async def host():
    server = HostServer()
    limit = 16 * 1024 * 1024
    async with serve(server.handle, "127.0.0.1", 0, max_size=limit) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"ws://127.0.0.1:{port}/ws/plugin/"
        yield server


@pytest.fixture
async def connect_plugin(host):
    """Connect runners as one plugin and return the host's end after its handshake."""
    tasks = []

    async def connect(*runners):
        settings = Settings(url=host.url, key=KEY)
        tasks.append(asyncio.create_task(keep_connected(Plugin(runners), settings)))
        side = await host.accepted()
        await side.handshake()
        return side

    yield connect
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def host_key():
    return KEY
