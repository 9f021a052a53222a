"""Our host under load: started as its users start it, driven through its REST API."""

import asyncio
import time
from typing import Any

import httpx2

from benchmarks.deployments import Deployment
from benchmarks.event_stream import EventStreams
from benchmarks.load import Load, LoadResult, RunTimes, drive
from benchmarks.measure import Processes
from benchmarks.plugins import RUNNERS, PluginPool

_AGENT = "benchmark"
_READY_SECONDS = 60
_RUN_SECONDS = 300
_POLL_SECONDS = 0.05
_TERMINAL_EVENTS = (b"run.completed", b"run.failed")
_TERMINAL_STATUSES = {"completed", "failed", "cancelled", "timeout"}


class OurHost:
    """Our host in one deployment, with the benchmark plugin connected to it.

    Each run is one event with a conversation of its own. With `follow="stream"` its
    end is seen on the event stream, which is one more subscriber that the null host
    does not serve; with `follow="poll"` by asking for the run every 50 ms.
    """

    def __init__(
        self, deployment: Deployment, plugin_kind: str, *, follow: str = "stream"
    ):
        self.name = deployment.name
        self._deployment = deployment
        self._plugin_kind = plugin_kind
        self._follow = follow
        self._plugins: PluginPool | None = None
        self._client: httpx2.AsyncClient | None = None
        self._streams: EventStreams | None = None

    async def start(self) -> None:
        """Start the processes, connect the plugin, make an agent and its binding."""
        access = await asyncio.to_thread(self._deployment.start)
        self._client = httpx2.AsyncClient(
            base_url=access.url,
            headers={"Authorization": f"Bearer {access.api_token}"},
            timeout=_RUN_SECONDS,
            limits=httpx2.Limits(max_connections=None),
        )
        self._streams = EventStreams(access.url, access.api_token)
        await self._wait_until(self._is_ready, "ready")
        socket_url = access.url.replace("http", "ws", 1) + "/ws/plugin/"
        self._plugins = PluginPool(self._plugin_kind, socket_url, access.plugin_token)
        await self.use_plugins(1)
        await self._make_agent()

    @property
    def client(self) -> httpx2.AsyncClient:
        """Return the authorised client of the REST API."""
        assert self._client is not None, "the host was not started"
        return self._client

    async def use_plugins(self, count: int) -> None:
        """Have exactly `count` plugin processes connected."""
        assert self._plugins is not None, "the host was not started"
        await self._plugins.resize(count)
        await self._wait_until(self._has_runner, "connected to the plugin")
        if count > 1:
            # The API says that the runner is online, not how many processes serve it.
            await asyncio.sleep(3)

    async def _wait_until(self, check: Any, what: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not await check():
            if time.monotonic() > deadline:
                message = f"{self.name}: not {what} within {_READY_SECONDS} s"
                raise TimeoutError(f"{message}\n{self._deployment.output()}")
            await asyncio.sleep(0.2)

    async def _is_ready(self) -> bool:
        try:
            answer = await self.client.get("/readyz")
        except httpx2.TransportError:
            return False
        return answer.status_code == 200

    async def _has_runner(self) -> bool:
        answer = await self.client.get("/api/v1/runners/", params={"limit": 200})
        answer.raise_for_status()
        wanted = RUNNERS[self._plugin_kind]
        found = answer.json()["results"]
        return any(item["id"] == wanted and item["online"] for item in found)

    async def _make_agent(self) -> None:
        agent = await self.client.put(
            f"/api/v1/agents/by-slug/{_AGENT}/",
            json={
                "slug": _AGENT,
                "name": "Benchmark",
                "runner": RUNNERS[self._plugin_kind],
                "runner_config": {},
            },
        )
        agent.raise_for_status()
        binding = await self.client.post(
            "/api/v1/bindings/",
            json={
                "agent": agent.json()["id"],
                "scope": "global",
                "event_pattern": "message.received",
                "priority": 1000,
            },
        )
        binding.raise_for_status()

    async def run_load(self, load: Load) -> LoadResult:
        """Carry a load to its end and measure it."""

        async def run_once(conversation: str) -> RunTimes:
            event = {
                "type": "message.received",
                "conversation": conversation,
                "actor": {"id": "benchmark"},
                "input": {"text": load.text},
            }
            if self._follow == "poll":
                return await self._poll_once(event)
            return await self._stream_once(event)

        return await drive(load, run_once, self.processes())

    async def _stream_once(self, event: dict[str, Any]) -> RunTimes:
        began = time.perf_counter()
        started = first_delta = None
        last = b""
        assert self._streams is not None, "the host was not started"
        total = 0.0
        async for last in self._streams.follow(event):
            if last == b"run.started":
                started = time.perf_counter() - began
            if first_delta is None and last == b"message.delta":
                first_delta = time.perf_counter() - began
            if last in _TERMINAL_EVENTS:
                total = time.perf_counter() - began
        return RunTimes(total, first_delta, last == b"run.completed", started)

    async def _poll_once(self, event: dict[str, Any]) -> RunTimes:
        began = time.perf_counter()
        accepted = await self.client.post("/api/v1/events/", json=event)
        accepted.raise_for_status()
        url = f"/api/v1/runs/{accepted.json()['run_id']}/"
        status = ""
        while status not in _TERMINAL_STATUSES:
            await asyncio.sleep(_POLL_SECONDS)
            answer = await self.client.get(url)
            answer.raise_for_status()
            status = answer.json()["status"]
        total = time.perf_counter() - began
        return RunTimes(total, None, status == "completed")

    async def stop(self) -> None:
        """End the plugins and every process of the host."""
        if self._plugins is not None:
            await self._plugins.close()
        if self._client is not None:
            await self._client.aclose()
        if self._streams is not None:
            await self._streams.close()
        await asyncio.to_thread(self._deployment.stop)

    def processes(self) -> Processes:
        """Return the host's processes by role, and those of the plugin."""
        plugins = [] if self._plugins is None else self._plugins.process_ids()
        return {**self._deployment.processes(), "plugin": plugins}
