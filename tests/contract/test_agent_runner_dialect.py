"""Plugins of the kind `AgentRunner` that know `run_agent`, on our host."""

import time
from contextlib import asynccontextmanager

import pytest

from tests.support.agent_runner_client import AgentRunnerClient
from tests.support.host import aside
from tests.support.plugin_socket import HostCallError

NAME = "agent-runner"
RUNNER = f"plugin:dialect/{NAME}/default"


@asynccontextmanager
async def connected(host, *, header=True):
    """Yield a client that is registered; the agent `agent-runner` runs on it."""
    token = await aside(host.plugin_token, NAME)
    async with AgentRunnerClient(host.socket_url, token, header=header) as client:
        await aside(host.wait_runner, RUNNER)
        await aside(host.make_agent, NAME, RUNNER)
        yield client


async def test_agent_runner_is_listed_without_a_reason(host):
    async with connected(host):
        runner = await aside(host.runner, RUNNER)
        assert runner["kind"] == "AgentRunner"
        assert runner["online"]
        assert runner["last_error"] == ""


# SDKs before 0.5.0 send their key in `register_plugin` only (wire 1.2).
@pytest.mark.parametrize("header", [True, False])
async def test_agent_runner_completes_a_streamed_run(host, header):
    async with connected(host, header=header) as client:
        run = await aside(host.ask, "deltas=3", NAME)
        assert run["status"] == "completed"
        deltas = await aside(host.events, run["id"], "message.delta")
        text = "".join(delta["data"]["text"] for delta in deltas)
        assert text == "part 0 part 1 part 2 "
        assert await aside(host.reply, run["id"]) == text
        assert client.ended[run["id"]] == "completed"


async def test_agent_runner_makes_host_calls(host):
    text = "calls=state_set:blue,state_get,history_page,get_prompt,no_such_action"
    async with connected(host) as client:
        run = await aside(host.ask, text, NAME)
        assert run["status"] == "completed"
        answers = client.answers[run["id"]]
        assert answers["state_set"] == {"success": True}
        assert answers["state_get"] == {"value": "blue"}
        (item,) = answers["history_page"]["items"]
        assert (item["role"], item["content"]) == ("user", text)
        assert answers["get_prompt"] == {"prompt": []}
        assert isinstance(answers["no_such_action"], HostCallError)
        assert answers["no_such_action"].code == "action.not_found"


async def test_agent_runner_cooperates_with_a_cancel(host):
    async with connected(host) as client:
        run_id = await aside(host.send, "deltas=2 seconds=60 poll=0.2", NAME)
        await aside(host.wait_run, run_id, "running")
        began = time.monotonic()
        await aside(host.cancel, run_id)
        run = await aside(host.wait_run, run_id)
        assert (run["status"], run["error_code"]) == ("cancelled", "cancelled")
        assert time.monotonic() - began < 5
        # It ended itself, before the host would have done it.
        assert client.ended[run_id] == "cancelled"
        (end,) = await aside(host.events, run_id, "run.failed")
        assert end["data"]["error"] == "The run was cancelled"


async def test_agent_runner_fails_with_its_own_code(host):
    async with connected(host) as client:
        run = await aside(host.ask, "deltas=0 fail=dialect.failed", NAME)
        assert (run["status"], run["error_code"]) == ("failed", "dialect.failed")
        assert client.ended[run["id"]] == "failed"


async def test_agent_runner_that_drops_its_socket_loses_the_run(host):
    async with connected(host) as client:
        run_id = await aside(host.send, "seconds=60", NAME)
        await aside(host.wait_run, run_id, "running")
        await client.abort()
        run = await aside(host.wait_run, run_id)
        assert (run["status"], run["error_code"]) == ("failed", "connection_lost")
    async with connected(host):
        assert (await aside(host.ask, "again", NAME))["status"] == "completed"
