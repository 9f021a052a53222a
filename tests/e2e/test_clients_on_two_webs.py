"""Clients of `/ws/runs/<id>/` where there are two web processes and two workers."""

import asyncio
import random
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from websockets.exceptions import ConnectionClosed

from runners.clients.frames import CLOSE_REPLACED
from runners.clients.tokens import issue_token
from runners.models import AgentRun, ClientCall
from runners.public import start_run
from tests.factories import AgentFactory
from tests.support.campaign import node_of
from tests.support.cluster import Cluster, wait_until
from tests.support.load import broken_ledgers
from tests.support.run_socket import RunSocket

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TOOL = {"name": "read_clipboard", "description": "What the person has copied."}
ROUNDS, TOGETHER = 10, 6


@pytest.fixture
def cluster(process_environment):
    with Cluster(process_environment) as cluster:
        cluster.start(webs=2, workers=2, plugins=1)
        yield cluster


def started(workspace, runner, text):
    agent = AgentFactory.create(
        workspace=workspace,
        runner_id=f"plugin:tests/load/{runner}",
        resource_policy={"client_tools": [TOOL]},
    )
    accepted = start_run(agent, text, metadata={"client_tools": [TOOL["name"]]})
    assert accepted.run_id is not None
    run = AgentRun.objects.get(public_id=accepted.run_id)
    wait_until(lambda: AgentRun.objects.running().filter(pk=run.pk).exists(), "it runs")
    return run


def socket_of(cluster, run, user, web):
    token = issue_token(run.public_id, run.workspace_id, user.pk)
    return RunSocket(cluster.url(web), str(run.public_id), token)


async def close_code(client, seconds=10.0):
    """Return with which code the host closed the socket; None where it did not."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                await client.socket.recv()
    except TimeoutError:
        return None
    except ConnectionClosed:
        return client.socket.close_code


async def test_a_person_has_one_connection_on_all_webs(
    cluster, workspace, user, django_user_model
):
    """LO-01."""
    other = await django_user_model.objects.acreate(username="other", is_superuser=True)
    run = await sync_to_async(started)(workspace, "waiting", "200 x")
    async with socket_of(cluster, run, other, 0) as beside:
        await beside.frame("auth_ok")
        async with socket_of(cluster, run, user, 0) as first:
            await first.frame("auth_ok")
            async with socket_of(cluster, run, user, 1) as second:
                await second.frame("auth_ok")
                assert await close_code(first) == CLOSE_REPLACED
                async with socket_of(cluster, run, user, 0) as third:
                    await third.frame("auth_ok")
                    assert await close_code(second) == CLOSE_REPLACED
                    assert await close_code(third, 1.0) is None
        for _ in range(ROUNDS):
            await check_one_of_many_stays(cluster, run, user)
        assert await close_code(beside, 1.0) is None


async def check_one_of_many_stays(cluster, run, user):
    """However close they come, one is left."""
    async with AsyncExitStack() as stack:
        webs = [number % 2 for number in range(TOGETHER)]
        random.shuffle(webs)
        clients = await asyncio.gather(
            *[
                stack.enter_async_context(socket_of(cluster, run, user, web))
                for web in webs
            ]
        )
        codes = await asyncio.gather(*[close_code(one, 2.0) for one in clients])
    assert sorted(codes, key=str) == [CLOSE_REPLACED] * (TOGETHER - 1) + [None]


# Tools that the client executes


def kill_its_worker(cluster, run):
    """Kill the worker that carries the run; another one takes its place."""
    run.refresh_from_db()
    for worker in cluster.workers:
        if worker.is_running and node_of(worker).public_id == run.node:
            worker.kill()
            cluster.start_worker()
            return
    message = "nobody carries the run"
    raise AssertionError(message)


def adoptions(run):
    return run.events.filter(type="run.adopted").count()


async def answer(client, asked, text):
    call = {"type": "tool_result", "call_id": asked["call_id"]}
    await client.send(**call, result={"text": text})
    accepted = await client.frame("tool_accepted", "error")
    assert accepted["type"] == "tool_accepted", accepted


async def test_a_call_of_the_client_outlives_its_worker(cluster, workspace, user):
    """Killed before, after and at the same time as the answer comes."""
    run = await sync_to_async(started)(workspace, "clipping", "4")
    async with socket_of(cluster, run, user, 0) as client:
        for number, order in enumerate(("after", "before", "at once", "never")):
            asked = await client.frame("tool_request")
            assert asked["parameters"] == {"number": number}
            await one_call(cluster, run, client, asked, order)
        while (await client.frame())["type"] != "session_complete":
            pass
    await sync_to_async(check_calls)(run)


async def one_call(cluster, run, client, asked, order):
    text = f"copy{asked['parameters']['number']}"
    killing = sync_to_async(kill_its_worker)
    if order == "after":  # its adopter gets the answer
        known = await sync_to_async(adoptions)(run)
        await killing(cluster, run)
        await sync_to_async(wait_until)(lambda: adoptions(run) > known, "adopted")
        await check_asked_anew(cluster, run, asked)
        await answer(client, asked, text)
    elif order == "before":  # nobody carries the run when the answer comes
        await killing(cluster, run)
        await answer(client, asked, text)
    elif order == "at once":
        await asyncio.gather(answer(client, asked, text), killing(cluster, run))
    else:
        await answer(client, asked, text)


async def check_asked_anew(cluster, run, asked):
    """Another client, on the other web process, is asked for the same call."""
    from django.contrib.auth import get_user_model

    boss = await get_user_model().objects.acreate(
        username=f"boss{time.monotonic()}", is_superuser=True
    )
    async with socket_of(cluster, run, boss, 1) as client:
        assert (await client.frame("tool_request"))["call_id"] == asked["call_id"]


def check_calls(run):
    """Each call was made once, told once and answered with what the client said."""
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("completed", "")
    texts = [f"copy{number}" for number in range(4)]
    calls = ClientCall.objects.filter(run=run).order_by("plugin_seq_id")
    assert [one.answer["result"]["text"] for one in calls] == texts
    assert run.transcript.get(role="assistant").text.split() == texts
    for kind in ("tool.call.started", "tool.call.completed"):
        told = run.events.filter(type=kind).values_list("data__tool_call_id", flat=True)
        assert sorted(told) == sorted(str(one.public_id) for one in calls)
    assert adoptions(run) >= 2
    assert broken_ledgers([run.pk]) == []
