"""Tools that the client executes: asked over its socket, answered once."""

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from agents.policies import ClientTool, ResourcePolicy
from runners.client_tools import offered_tools
from runners.clients.calls import (
    CallRefusedError,
    answer_call,
    open_call,
    open_request,
    settled_call,
)
from runners.ledger.journal import CallKey
from runners.models import ClientCall
from tests.support import ledger
from tests.support.host import aside
from tests.support.plugin_manifests import runner_component
from tests.support.plugin_socket import HostCallError
from tests.support.raw_runs import ended, unregistered
from tests.support.run_socket import RunSocket
from tests.support.runner_sources import config_field

TOOL = {
    "name": "read_clipboard",
    "description": "What the person has copied.",
    "parameters": {"type": "object", "properties": {"kind": {"type": "string"}}},
}


@asynccontextmanager
async def tool_run(host, name, **config):
    """Yield a plugin and the run of a message whose sender has a tool."""
    async with unregistered(host, name) as plugin:
        plugin.components = [
            runner_component(
                "Runner",
                config=[config_field("timeout", 60)],
                capabilities=("streaming", "tool_calling"),
            )
        ]
        await plugin.handshake()
        more = {"resource_policy": {"client_tools": [TOOL]}}
        runner = f"plugin:raw/{name}/default"
        await aside(host.make_agent, name, runner, config, **more)
        yield plugin


async def send(host, name, **metadata):
    """Send a message; returns its answer, the token among it."""
    row = await aside(host.api, "POST", "conversations/", json={})
    body = {"text": "hi", "agent": name, "metadata": metadata}
    path = f"conversations/{row['id']}/messages/"
    return await aside(host.api, "POST", path, json=body)


async def call(plugin, run_id, **parameters):
    data = {"run_id": run_id, "tool_name": TOOL["name"], "parameters": parameters}
    try:
        return await plugin.call("call_tool", data)
    except HostCallError as error:
        return error.code


def tools_of(request):
    resources = request["data"]["context"]["resources"]
    return {one["tool_name"]: one for one in resources["tools"]}


async def test_a_client_executes_a_tool_and_its_first_answer_counts(host):
    async with tool_run(host, "clipped") as plugin:
        sent = await send(host, "clipped", client_tools=["read_clipboard", "unknown"])
        run_id = sent["run_id"]
        request = await plugin.next_run()
        assert tools_of(request)["read_clipboard"]["parameters"] == TOOL["parameters"]
        async with RunSocket(host.url, run_id, sent["token"]) as client:
            asking = asyncio.create_task(call(plugin, run_id, kind="text"))
            asked = await client.frame("tool_request")
            assert asked["tool_name"] == "read_clipboard"
            assert asked["parameters"] == {"kind": "text"}
            await client.send(type="tool_result", call_id=run_id, result={"a": 1})
            assert (await client.frame("error"))["code"] == "not_found"
            answer = {"type": "tool_result", "call_id": asked["call_id"]}
            await client.send(**answer, result={"text": "copied"})
            await client.send(**answer, result={"text": "again"})
            accepted = await client.frame("tool_accepted", "error")
            assert accepted["call_id"] == asked["call_id"]
            refused = await client.frame("error")
            assert (refused["code"], refused["call_id"]) == (
                "conflict",
                asked["call_id"],
            )
            assert await asking == {"result": {"text": "copied"}}
            failing = asyncio.create_task(call(plugin, run_id, kind="image"))
            asked = await client.frame("tool_request")
            answer = {"type": "tool_result", "call_id": asked["call_id"]}
            await client.send(**answer, error="no image there")
            assert await failing == "runtime_error"
        async with RunSocket(host.url, run_id, sent["token"]) as client:
            await plugin.complete(request, "done")
            frames = []
            while (frame := await client.frame())["type"] != "session_complete":
                frames.append(frame)
            kinds = [frame["type"] for frame in frames]
            assert "tool_request" not in kinds  # nobody is asked again
        assert await ended(host, run_id) == ("completed", "")
    events = await aside(host.events, run_id, "tool.call.completed")
    assert [event["data"]["result"] for event in events] == [{"text": "copied"}, None]
    assert {event["data"]["executor"] for event in events} == {"client"}


async def test_a_tool_that_nobody_executes_is_a_typed_error(host):
    async with tool_run(host, "clipless", timeout=4) as plugin:
        sent = await send(host, "clipless", client_tools=["read_clipboard"])
        request = await plugin.next_run()
        assert await call(plugin, sent["run_id"]) == "client.unavailable"
        await plugin.complete(request, "nobody there")


async def test_a_run_whose_sender_has_no_tools_may_not_call_them(host):
    async with tool_run(host, "clipfree") as plugin:
        sent = await send(host, "clipfree")
        request = await plugin.next_run()
        assert "read_clipboard" not in tools_of(request)
        assert await call(plugin, sent["run_id"]) == "permission_denied"
        await plugin.complete(request, "no tool")
        assert await ended(host, sent["run_id"]) == ("completed", "")


def test_a_run_has_what_its_agent_describes_and_its_sender_names():
    allowed = [ClientTool.model_validate(TOOL), ClientTool(name="other")]
    names = ["read_clipboard", "unknown", 1]
    (tool,) = offered_tools(allowed, {"client_tools": names})
    assert tool.name == "read_clipboard"
    refused: tuple[Any, ...] = (
        {},
        None,
        {"client_tools": "other"},
        {"client_tools": {}},
    )
    for metadata in refused:
        assert offered_tools(allowed, metadata) == []


@pytest.mark.parametrize(
    "given", [{"name": "a b"}, {"name": "a", "parameters": {"x": "y" * 20_000}}]
)
def test_a_bad_description_is_refused(given):
    with pytest.raises(ValueError, match="client_tools"):
        ResourcePolicy.model_validate({"client_tools": [given]})


@pytest.fixture
def run(agent, transactional_db):
    from tests.runners.clients.test_socket import admitted

    return ledger.begin(admitted(agent))


def opened(run, number=1, seconds=60.0):
    return open_call(CallKey(run.pk, 1, number, "call_tool"), "t", {"a": 1}, seconds)


def test_a_call_that_comes_again_is_the_same_one(run):
    first = opened(run)
    assert opened(run).pk == first.pk
    assert settled_call(first.pk) is None
    answer_call(run, first.public_id, {"result": {"b": 2}}, "ada")
    settled = settled_call(opened(run).pk)
    assert settled is not None
    assert settled.answer == {"result": {"b": 2}}
    assert open_request(run.pk, str(first.public_id)) is None


def test_one_of_many_answers_wins(run):
    for number in range(20):
        call_row = opened(run, number)
        won: list[Any] = []
        barrier = threading.Barrier(4)

        def answer(who, call_row=call_row, won=won, barrier=barrier):
            try:
                barrier.wait(30)
                answer_call(run, call_row.public_id, {"result": {"by": who}}, str(who))
                won.append(who)
            except CallRefusedError as error:
                assert error.code == "conflict"
            finally:
                connection.close()

        threads = [threading.Thread(target=answer, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = won
        stored = ClientCall.objects.get(pk=call_row.pk)
        assert stored.answer == {"result": {"by": winner}}
        assert stored.answered_by == str(winner)


@pytest.mark.parametrize("how", ["late", "ended", "other run"])
def test_a_late_or_foreign_answer_is_refused(run, agent, how):
    call_row = opened(run)
    if how == "late":
        past = datetime.now(UTC) - timedelta(seconds=1)
        ClientCall.objects.filter(pk=call_row.pk).update(expires_at=past)
        settled = settled_call(call_row.pk)
        assert settled is not None
        assert settled.status == "expired"
    elif how == "ended":
        ledger.complete(run)
    else:
        from tests.runners.clients.test_socket import admitted

        run = ledger.begin(admitted(agent))
    code = "not_found" if how == "other run" else "conflict"
    with pytest.raises(CallRefusedError) as refused:
        answer_call(run, call_row.public_id, {"result": {}}, "ada")
    assert refused.value.code == code
    assert ClientCall.objects.get(pk=call_row.pk).answer is None
