"""A bare WebSocket server that plays the host's side of the plugin socket.

It has no ledger, no queue and no database: it shows what a plugin does on the wire,
and its speed is the most that any host can get out of that plugin.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.host_answers import HostAnswers, HostCallRefusedError

FRAME_LIMIT = 16 * 1024 * 1024
_SETTINGS = {"enabled": True, "priority": 0, "plugin_config": {}}
_RUN_ACTIONS = {"Runner": "run_runner", "AgentRunner": "run_agent"}

Frame = dict[str, Any]
OnResult = Callable[[Frame], None]


class PluginCallError(Exception):
    """Carry the message of a plugin's error answer."""


class PluginGoneError(ConnectionError):
    """Say that the plugin's socket closed while something waited for it."""


@dataclass(slots=True)
class BareRun:
    """One run in progress; times are `time.perf_counter` seconds."""

    sent_at: float
    finished: asyncio.Future[None]
    on_result: OnResult | None
    results: list[Frame] = field(default_factory=list)
    result_count: int = 0
    first_delta_at: float | None = None
    ended_at: float | None = None

    async def wait(self, timeout_seconds: float = 30.0) -> list[Frame]:
        """Return the results once the stream ended."""
        # Shielded: a timeout here must not cancel what the reader will still set.
        await asyncio.wait_for(asyncio.shield(self.finished), timeout_seconds)
        return self.results


class BareConnection:
    """The host's side of one plugin socket."""

    def __init__(self, socket: ServerConnection, answers: HostAnswers):
        self.container: Frame = {}
        self.active_runs = 0
        self.host_calls: list[str] = []
        self.closed = asyncio.Event()
        self._socket = socket
        self._answers = answers
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Frame]] = {}
        self._runs: dict[int, BareRun] = {}

    @property
    def plugin(self) -> str:
        """Return `author/name` of the plugin."""
        metadata = self.container["manifest"]["manifest"]["metadata"]
        return f"{metadata['author']}/{metadata['name']}"

    async def call(self, action: str, data: Frame | None = None) -> Frame:
        """Send a request and return the answer's data.

        Raises PluginCallError for an error answer.
        """
        number = next(self._numbers)
        answered: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._calls[number] = answered
        await self.send({"seq_id": number, "action": action, "data": data or {}})
        try:
            frame = await asyncio.wait_for(answered, 15)
        finally:
            self._calls.pop(number, None)
        if frame["code"] != 0:
            raise PluginCallError(frame["message"])
        return dict(frame["data"])

    async def start_run(
        self, context: Frame, on_result: OnResult | None = None
    ) -> BareRun:
        """Start a run; results are kept, or handed to `on_result` and dropped."""
        kind, runner = self._runner()
        number = next(self._numbers)
        finished = asyncio.get_running_loop().create_future()
        run = BareRun(time.perf_counter(), finished, on_result)
        self._runs[number] = run
        self.active_runs += 1
        data = {"runner_name": runner, "context": context}
        request = {"seq_id": number, "action": _RUN_ACTIONS[kind], "data": data}
        await self.send(request)
        return run

    async def send(self, frame: Frame) -> None:
        """Send one frame as it is."""
        await self._socket.send(json.dumps(frame))

    async def close(self) -> None:
        """Drop the socket; the plugin will connect again at once."""
        await self._socket.close()

    def _runner(self) -> tuple[str, str]:
        manifest = self.container["components"][0]["manifest"]["manifest"]
        return manifest["kind"], manifest["metadata"]["name"]

    async def serve(self, *, token: str, on_ready: Callable[[Self], None]) -> None:
        """Read the socket to its end; a registered plugin is handed to `on_ready`."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            async for text in self._socket:
                frame = json.loads(text)
                if "code" in frame:
                    self._take_answer(frame)
                elif frame["action"] == "register_plugin":
                    greeting = self._register(frame, token, on_ready)
                    tasks.add(asyncio.create_task(greeting))
                else:
                    await self._answer(frame)
        except ConnectionClosed:
            pass
        finally:
            self._fail_waiting()

    def _take_answer(self, frame: Frame) -> None:
        run = self._runs.get(frame["seq_id"])
        if run is not None:
            self._take_result(run, frame)
            return
        answered = self._calls.get(frame["seq_id"])
        if answered is not None and not answered.done():
            answered.set_result(frame)

    def _take_result(self, run: BareRun, frame: Frame) -> None:
        if frame["code"] != 0 or frame.get("chunk_status") == "end":
            self._end_run(run, frame)
            return
        result = frame["data"]
        run.result_count += 1
        if run.first_delta_at is None and result["type"] == "message.delta":
            run.first_delta_at = time.perf_counter()
        if run.on_result is None:
            run.results.append(result)
        else:
            run.on_result(result)

    def _end_run(self, run: BareRun, frame: Frame) -> None:
        del self._runs[frame["seq_id"]]
        self.active_runs -= 1
        run.ended_at = time.perf_counter()
        if frame["code"] == 0:
            run.finished.set_result(None)
        else:
            run.finished.set_exception(PluginCallError(frame["message"]))

    async def _register(
        self, frame: Frame, token: str, on_ready: Callable[[Self], None]
    ) -> None:
        data = frame["data"]
        if data["plugin_debug_key"] != token:
            await self.send(_failure(frame, "Invalid plugin debug key", {}))
            await self.close()
            return
        await self.send(_success(frame, {}))
        await self.call("initialize_plugin", {"plugin_settings": _SETTINGS})
        self.container = await self.call("get_plugin_container")
        on_ready(self)

    async def _answer(self, frame: Frame) -> None:
        self.host_calls.append(frame["action"])
        try:
            answer = self._answers.answer(frame["action"], frame["data"])
        except HostCallRefusedError as error:
            await self.send(_failure(frame, str(error), error.data))
        else:
            await self.send(_success(frame, answer))

    def _fail_waiting(self) -> None:
        gone = PluginGoneError("the plugin's socket closed")
        for answered in self._calls.values():
            if not answered.done():
                answered.set_exception(gone)
        for run in self._runs.values():
            run.finished.set_exception(gone)


class BareHost:
    """Serve plugin sockets on a free port of the loopback interface.

    `async with BareHost() as host:` then connect plugins to `host.url` with
    `host.token`.
    """

    def __init__(self, token: str = "t" * 40):
        self.token = token
        self.answers = HostAnswers()
        self.connections: list[BareConnection] = []
        self._changed = asyncio.Event()
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle, "127.0.0.1", 0, compression=None, max_size=FRAME_LIMIT
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Return the address that plugins connect to."""
        assert self._server is not None, "the host is not running"
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/ws/plugin/"

    async def wait_for_plugins(
        self, count: int = 1, timeout_seconds: float = 30.0
    ) -> list[BareConnection]:
        """Return the connections once `count` plugins are registered."""
        async with asyncio.timeout(timeout_seconds):
            while len(self.connections) < count:
                self._changed.clear()
                await self._changed.wait()
        return list(self.connections)

    def _add(self, connection: BareConnection) -> None:
        self.connections.append(connection)
        self._changed.set()

    async def _handle(self, socket: ServerConnection) -> None:
        connection = BareConnection(socket, self.answers)
        try:
            await connection.serve(token=self.token, on_ready=self._add)
        finally:
            if connection in self.connections:
                self.connections.remove(connection)
            connection.closed.set()


def _success(request: Frame, data: Frame) -> Frame:
    seq_id = request["seq_id"]
    return {"seq_id": seq_id, "code": 0, "message": "success", "data": data}


def _failure(request: Frame, message: str, data: Frame) -> Frame:
    return {"seq_id": request["seq_id"], "code": 1, "message": message, "data": data}
