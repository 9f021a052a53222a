"""One plugin as the host sees it: it registers, describes itself and runs runners."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection

from runners.protocol.actions import DEFAULT_CALL_SECONDS, Action
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import (
    MAX_CONCURRENT_REQUESTS,
    Request,
    build_error,
    build_response,
)
from runners.sdk.connection import Connection
from runners.sdk.execution import Execution
from runners.sdk.runner import Runner, plugin_container

STOP_SECONDS: Final = 5.0  # for runners' own clean-up when their connection is gone

logger = logging.getLogger(__name__)


class Plugin:
    """Runners of the same author and plugin name; they share one connection."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._types = [type(runner) for runner in runners]
        self._runners = {runner.name: runner for runner in runners}
        self.name = f"{runners[0].author}/{runners[0].plugin}"

    def container(self, status: str) -> dict[str, Any]:
        return plugin_container(self._types, status)

    def runner(self, name: Any) -> Runner | None:
        return self._runners.get(name) if isinstance(name, str) else None


class PluginSession:
    """The plugin on one open connection."""

    def __init__(self, plugin: Plugin, socket: ClientConnection) -> None:
        self._plugin = plugin
        self._status = "mounted"
        self._connection = Connection(socket, self._handle)
        self._closing: asyncio.Task[None] | None = None
        self._runs: dict[int, tuple[Execution, asyncio.Task[None]]] = {}
        self._answers: dict[str, Callable[[Request], Mapping[str, Any]]] = {
            Action.PING: lambda _: {"alive": True},
            Action.INITIALIZE_PLUGIN: self._initialize,
            Action.GET_PLUGIN_CONTAINER: lambda _: plugin.container(self._status),
            Action.GET_PLUGIN_ICON: lambda _: _no_file("plugin_icon_file_key"),
            Action.GET_PLUGIN_README: lambda _: _no_file("plugin_readme_file_key"),
            Action.CANCEL_ACTION: self._cancel,
        }

    async def serve(self, key: str, on_registered: Callable[[], None]) -> None:
        """Register, then serve until the connection ends.

        Raises `HostCallError` when the host refuses the plugin, and ConnectionClosed.
        """
        serving = asyncio.create_task(self._connection.serve())
        try:
            await self._register(key)
            on_registered()
            await serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await self._stop_runs()

    async def _register(self, key: str) -> None:
        data = {
            "plugin_container": self._plugin.container("mounted"),
            "prod_mode": False,
            "plugin_debug_key": key,
            "registration_capability": "",
        }
        await self._connection.call(Action.REGISTER_PLUGIN, data, DEFAULT_CALL_SECONDS)

    def _handle(self, request: Request) -> None:
        """Answer a request of the host at once, or start its run."""
        connection = self._connection
        if request.action == Action.RUN_RUNNER:
            self._start(request)
        elif request.action == Action.SHUTDOWN:
            # Answered by closing, as the released SDK does (wire 3).
            self._closing = asyncio.create_task(connection.close())
        elif (answer := self._answers.get(request.action)) is not None:
            connection.send(build_response(request.seq_id, answer(request)))
        else:
            message = f"ValueError: Action {request.action[:100]} not found"
            error = ProtocolError(ErrorCode.ACTION_NOT_FOUND, message)
            connection.send(build_error(request.seq_id, error))

    def _start(self, request: Request) -> None:
        if len(self._runs) >= MAX_CONCURRENT_REQUESTS or request.seq_id in self._runs:
            limit = MAX_CONCURRENT_REQUESTS
            message = f"Runtime connection is busy (max {limit} concurrent actions)"
            error = ProtocolError(ErrorCode.RATE_LIMITED, message, retryable=True)
            self._connection.send(build_error(request.seq_id, error))
            return
        runner = self._plugin.runner(request.data.get("runner_name"))
        execution = Execution(self._connection, request)
        task = asyncio.create_task(execution.run(runner))
        self._runs[request.seq_id] = (execution, task)
        task.add_done_callback(lambda _: self._runs.pop(request.seq_id, None))

    def _cancel(self, request: Request) -> Mapping[str, Any]:
        seq_id = request.data.get("seq_id")
        run = self._runs.get(seq_id) if type(seq_id) is int else None
        if run is None:
            return {"cancelled": False}
        execution, task = run
        execution.mute()
        task.cancel()
        return {"cancelled": True}

    def _initialize(self, _: Request) -> Mapping[str, Any]:
        self._status = "initialized"
        return {}

    async def _stop_runs(self) -> None:
        # Their results could not reach the host any more: it has failed them already.
        tasks = []
        for execution, task in self._runs.values():
            execution.mute()
            task.cancel()
            tasks.append(task)
        if tasks:
            logger.warning("runs lost with the connection", extra={"count": len(tasks)})
            await asyncio.wait(tasks, timeout=STOP_SECONDS)


def _no_file(key: str) -> dict[str, str]:
    return {key: "", "mime_type": ""}
