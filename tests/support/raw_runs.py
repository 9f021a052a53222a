"""Raw plugins on a running host, each with a token and an agent of its own name."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.host import RunningHost, aside
from tests.support.plugin_manifests import runner_component
from tests.support.plugin_socket import Frame
from tests.support.raw_plugin import RawPlugin
from tests.support.runner_sources import config_field


@asynccontextmanager
async def unregistered(
    host: RunningHost, name: str, admitted: tuple[str, ...] = ("*",), **token: Any
) -> AsyncIterator[RawPlugin]:
    """Yield the open socket of the plugin `raw/<name>`, which has not registered."""
    plain = await aside(host.plugin_token, name, plugins=admitted, **token)
    async with RawPlugin(host.socket_url, plain, name=name) as plugin:
        plugin.components = [
            runner_component("Runner", config=[config_field("timeout", 60)])
        ]
        yield plugin


@asynccontextmanager
async def connected(
    host: RunningHost, name: str, **config: Any
) -> AsyncIterator[RawPlugin]:
    """Yield the registered plugin `raw/<name>`; the agent `<name>` runs on it."""
    async with unregistered(host, name) as plugin:
        await plugin.handshake()
        await aside(host.make_agent, name, f"plugin:raw/{name}/default", config)
        yield plugin


async def begin_run(
    host: RunningHost, plugin: RawPlugin, text: str = "hello"
) -> tuple[str, Frame]:
    """Send the plugin's agent a message; returns the run's id and its request."""
    run_id = await aside(host.send, text, plugin.name)
    return run_id, await plugin.next_run()


async def ended(host: RunningHost, run_id: str) -> tuple[str, str]:
    """Return the status and the error code of the run once it ended."""
    run = await aside(host.wait_run, run_id)
    return run["status"], run["error_code"]


async def warnings(host: RunningHost, run_id: str) -> list[str]:
    """Return the codes of the run's warnings in order."""
    events = await aside(host.events, run_id, "warning")
    return [event["data"]["code"] for event in events]


async def said(host: RunningHost, run_id: str) -> str:
    """Return the run's deltas as one text."""
    events = await aside(host.events, run_id, "message.delta")
    return "".join(event["data"]["text"] for event in events)


async def assert_serves(host: RunningHost, *plugins: RawPlugin) -> None:
    """Fail unless the echo agent and these plugins complete a run each."""
    for plugin in plugins:
        run_id, request = await begin_run(host, plugin)
        await plugin.complete(request, "still here")
        assert await ended(host, run_id) == ("completed", "")
    run = await aside(host.ask, "are you there?")
    assert run["status"] == "completed"


def nested(depth: int) -> str:
    """Return a JSON object with objects in it, `depth` levels in all."""
    return '{"a":' * depth + "1" + "}" * depth


def codes(frames: Iterable[Frame]) -> dict[int, str]:
    """Return the typed error of each error answer by the number it answers."""
    return {
        frame["seq_id"]: frame["data"]["error"]["code"]
        for frame in frames
        if frame["code"] != 0
    }
