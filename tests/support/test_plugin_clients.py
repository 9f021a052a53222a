"""The plugins that tests play themselves, against a bare host on a real socket."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

from tests.support.agent_runner_client import AgentRunnerClient
from tests.support.bare_host import BareHost, BareRun, PluginCallError, PluginGoneError
from tests.support.plugin_socket import HostCallError
from tests.support.raw_plugin import RawPlugin
from tests.support.runner_context import runner_context

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest_asyncio.fixture
async def host():
    """Run a bare host for one test."""
    async with BareHost() as bare:
        yield bare


async def _run(host: BareHost, text: str) -> BareRun:
    (connection,) = await host.wait_for_plugins()
    run = await connection.start_run(runner_context(text))
    await run.wait()
    return run


async def test_agent_runner_streams_cumulative_text(host):
    async with AgentRunnerClient(host.url, host.token) as client:
        run = await _run(host, "deltas=2")
        chunks = [item["data"]["chunk"] for item in run.results[:-1]]
    assert [chunk["content"] for chunk in chunks] == [
        "part 0 ",
        "part 0 part 1 ",
        "part 0 part 1 ",
    ]
    assert run.results[-1]["type"] == "run.completed"
    assert list(client.ended.values()) == ["completed"]


async def test_agent_runner_makes_host_calls(host):
    calls = "calls=state_set:blue,state_get,history_page,artifact_read:a1"
    async with AgentRunnerClient(host.url, host.token) as client:
        await _run(host, calls)
    (answers,) = client.answers.values()
    assert answers["state_set"] == {"success": True}
    assert answers["state_get"] == {"value": "blue"}
    assert len(answers["history_page"]["items"]) == 2
    assert answers["artifact_read"].code == "action_not_found"


async def test_agent_runner_stops_on_a_cancel_request(host):
    async with AgentRunnerClient(host.url, host.token) as client:
        (connection,) = await host.wait_for_plugins()
        context = runner_context("seconds=60 poll=0.02")
        run = await connection.start_run(context)
        host.answers.cancel_requested.add(context["run_id"])
        results = await run.wait()
    assert results[-1]["data"]["code"] == "cancelled"
    assert client.ended == {context["run_id"]: "cancelled"}


async def test_agent_runner_fails_and_makes_artifacts_when_told(host):
    async with AgentRunnerClient(host.url, host.token):
        run = await _run(host, "deltas=0 artifact=hello fail=test.failed")
    assert [item["type"] for item in run.results] == ["artifact.created", "run.failed"]
    assert run.results[-1]["data"]["code"] == "test.failed"


async def test_agent_runner_knows_no_control_actions(host):
    async with AgentRunnerClient(host.url, host.token):
        (connection,) = await host.wait_for_plugins()
        for action in ("__ping", "__cancel_action", "run_runner"):
            with pytest.raises(PluginCallError, match=f"Action {action} not found"):
                await connection.call(action)


async def test_agent_runner_with_a_wrong_token_is_refused(host):
    with pytest.raises(HostCallError, match="Invalid plugin debug key"):
        async with AgentRunnerClient(host.url, "w" * 40):
            pass
    assert host.connections == []


async def test_agent_runner_runs_as_a_process_of_its_own(host):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.agent_runner_client"),
        *(host.url, host.token),
        cwd=_REPOSITORY,
    )
    try:
        run = await _run(host, "deltas=0")
        assert run.results[-1]["type"] == "run.completed"
    finally:
        process.terminate()
        await process.wait()


async def test_raw_plugin_answers_a_run_by_hand(host):
    async with RawPlugin(host.url, host.token) as plugin:
        await plugin.handshake()
        (connection,) = await host.wait_for_plugins()
        run = await connection.start_run(runner_context("hello"))
        request = await plugin.next_run()
        await plugin.delta(request, "one", sequence=1)
        await plugin.delta(request, "one", sequence=1, run_id="someone-else")
        await plugin.result(request, "vendor.custom", {}, sequence=2)
        await plugin.complete(request, "done", sequence=3)
        results = await run.wait()
    assert [item["sequence"] for item in results] == [1, 1, 2, 3]
    assert results[1]["run_id"] == "someone-else"


async def test_raw_plugin_with_a_wrong_token_raises(host):
    async with RawPlugin(host.url, "w" * 40) as plugin:
        with pytest.raises(HostCallError, match="Invalid plugin debug key"):
            await plugin.handshake()


async def test_raw_plugin_floods_until_the_host_has_all(host):
    async with RawPlugin(host.url, host.token) as plugin:
        await plugin.handshake()
        (connection,) = await host.wait_for_plugins()
        run = await connection.start_run(runner_context("flood"))
        request = await plugin.next_run()
        sent = await plugin.flood(request, 2_000_000, width=2000)
        await plugin.complete(request, "done", sequence=sent + 1)
        await run.wait()
    assert sent == 1000
    assert run.result_count == sent + 1


async def test_raw_plugin_oversize_frame_closes_the_socket(host):
    async with RawPlugin(host.url, host.token) as plugin:
        await plugin.handshake()
        # Depends on whether the host's close frame arrives before all is written.
        with suppress(ConnectionClosed):
            await plugin.oversize()
        await plugin.closed.wait()
        assert plugin.socket.close_code in {1006, 1009}
        with pytest.raises(ConnectionError):
            await plugin.send_text("more")


async def test_raw_plugin_that_dies_takes_its_runs_along(host):
    async with RawPlugin(host.url, host.token) as plugin:
        await plugin.handshake()
        (connection,) = await host.wait_for_plugins()
        run = await connection.start_run(runner_context("hello"))
        await plugin.next_run()
        await plugin.abort()
        with pytest.raises(PluginGoneError):
            await run.wait()
        await connection.closed.wait()
    assert host.connections == []


async def test_raw_plugin_can_leave_the_host_unread(host):
    async with RawPlugin(host.url, host.token) as plugin:
        await plugin.handshake()
        (connection,) = await host.wait_for_plugins()
        plugin.stop_reading()
        run = await connection.start_run(runner_context("hello"))
        with pytest.raises(TimeoutError):
            await plugin.next_run(timeout_seconds=0.2)
        plugin.read_on()
        await plugin.complete(await plugin.next_run(), "late")
        await run.wait()
