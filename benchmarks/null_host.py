"""The null host: the same plugin and wire, and nothing behind it.

Host calls are answered at once and results are dropped, so its numbers are the most
that the SDK's plugin process lets any host reach on this machine. It shares the
benchmark's process, whose CPU time is counted as `host`.
"""

import os

from benchmarks.load import Load, LoadResult, RunTimes, drive
from benchmarks.measure import Processes
from benchmarks.plugins import PluginPool
from tests.support.bare_host import BareHost, Frame
from tests.support.runner_context import runner_context

_RUN_SECONDS = 300


class NullHost:
    """A bare WebSocket server that starts runs and forgets what they say."""

    name = "null"

    def __init__(self, plugin_kind: str) -> None:
        self._host = BareHost()
        self._plugin_kind = plugin_kind
        self._plugins: PluginPool | None = None

    async def start(self) -> None:
        """Listen, and start one plugin process."""
        await self._host.__aenter__()
        host = self._host
        self._plugins = PluginPool(self._plugin_kind, host.url, host.token)
        await self.use_plugins(1)

    async def use_plugins(self, count: int) -> None:
        """Have exactly `count` plugin processes connected."""
        assert self._plugins is not None, "the null host was not started"
        await self._plugins.resize(count)
        for connection in self._host.connections[count:]:
            await connection.closed.wait()
        await self._host.wait_for_plugins(count)

    async def run_load(self, load: Load) -> LoadResult:
        """Carry a load to its end and measure it."""

        async def run_once(conversation: str) -> RunTimes:
            return await self._run_once(load.text, conversation)

        return await drive(load, run_once, self.processes())

    async def _run_once(self, text: str, conversation: str) -> RunTimes:
        connections = self._host.connections
        least_loaded = min(connections, key=lambda item: item.active_runs)
        terminal: list[Frame] = []

        def watch(result: Frame) -> None:
            if result["type"] in {"run.completed", "run.failed"}:
                terminal.append(result)

        context = runner_context(text, conversation=conversation)
        run = await least_loaded.start_run(context, watch)
        await run.wait(_RUN_SECONDS)
        assert run.ended_at is not None
        first = run.first_delta_at
        return RunTimes(
            total=run.ended_at - run.sent_at,
            first_delta=None if first is None else first - run.sent_at,
            succeeded=[item["type"] for item in terminal] == ["run.completed"],
            started=0.0,
        )

    async def stop(self) -> None:
        """End the plugins and stop listening."""
        if self._plugins is not None:
            await self._plugins.close()
        await self._host.__aexit__()

    def processes(self) -> Processes:
        """Return this process as `host`, and the plugin's."""
        plugins = [] if self._plugins is None else self._plugins.process_ids()
        return {"host": [os.getpid()], "plugin": plugins}
