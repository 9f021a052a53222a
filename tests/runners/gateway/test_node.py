"""The web node: what it keeps, gives up and survives."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisAwayError

from langbot.lib.exchange import Commands
from langbot.lib.redis import (
    claim_check,
    connection_runs,
    node_inbox,
    run_inbound,
    runner_connections,
    stream_client,
)
from runners.engine.placement import Place, Placement
from runners.gateway import node as node_module
from runners.gateway import session as session_module
from runners.gateway.consumers import PluginConsumer
from runners.gateway.messages import Kind, NodeMessage
from runners.gateway.node import WebNode
from runners.gateway.session import PluginSession
from runners.gateway.throttle import BURST, ConnectThrottle

MIB = 1024 * 1024


class Plugin:
    """What a socket was sent; it takes nothing until `reads` is set."""

    def __init__(self):
        self.got = []
        self.reads = asyncio.Event()

    async def send(self, frame):
        await self.reads.wait()
        self.got.append(frame)


@asynccontextmanager
async def working_node():
    node: Any = WebNode()
    client = stream_client()
    node.database = no_rows
    node.start()
    try:
        yield node, client
    finally:
        for task in node._tasks:
            task.cancel()
        await asyncio.gather(*node._tasks, return_exceptions=True)
        await node._reader.stop()
        await client.aclose()


async def no_rows(_function, *_args):
    return set()


@asynccontextmanager
async def socket_of(node):
    plugin = Plugin()
    session = PluginSession(node, plugin.send, "remote", "token")
    node.add(session)
    try:
        yield session, plugin
    finally:
        await node.remove(session)


async def tell(client, node, *messages):
    """Send messages to the node as a worker does."""
    pipeline = client.pipeline(transaction=False)
    for message in messages:
        put_aside: Commands = []
        entry: Any = message.fields(put_aside)
        for command in put_aside:
            pipeline.execute_command(*command)
        pipeline.xadd(node_inbox(node.id), entry)
    pipeline.expire(node_inbox(node.id), 30)
    await pipeline.execute()


def start_of(session, run_id, size=10):
    payload = b'"' + b"a" * size + b'"'
    run = NodeMessage(Kind.RUN, session.id, run_id, payload, "run_runner", 60)
    run.number = 1
    return run


async def until(condition, seconds=5):
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.01)
    return found


async def held_checks(client):
    return [key async for key in client.scan_iter(claim_check("*"))]


async def test_large_contexts_wait_for_their_turn_and_all_arrive():
    async with working_node() as (node, client), socket_of(node) as (session, plugin):
        before = await held_checks(client)
        runs = [uuid4() for _ in range(8)]
        await tell(client, node, *(start_of(session, run, 13 * MIB) for run in runs))
        await until(lambda: len(session.held) == len(runs) - 1)
        assert session._out_bytes < 14 * MIB
        cancelled = runs.pop()
        await tell(client, node, NodeMessage(Kind.CANCEL, session.id, cancelled))
        await until(lambda: cancelled not in session.held)
        plugin.reads.set()
        await until(lambda: len(plugin.got) == len(runs), 20)
        assert not session.closing.is_set()
        assert session.run_ids == set(runs)
        await asyncio.sleep(0.2)
        assert set(await held_checks(client)) <= set(before)


async def test_starts_that_were_held_are_lost_with_their_socket():
    async with working_node() as (node, client):
        async with socket_of(node) as (session, _):
            runs = [uuid4() for _ in range(3)]
            await tell(client, node, *(start_of(session, run, 5 * MIB) for run in runs))
            await until(lambda: len(session.held) == 2)
        for run in runs:
            async with asyncio.timeout(5):
                while not await client.xlen(run_inbound(run)):
                    await asyncio.sleep(0.01)
            (entry,) = await client.xrange(run_inbound(run))
            assert b"connection_lost" in entry[1][b"f"]
            await client.delete(run_inbound(run))


async def test_a_plugin_that_takes_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(session_module, "_STALL_SECONDS", 0.2)
    node = WebNode()
    async with socket_of(node) as (session, _):
        for _ in range(3):
            session.send(b"a" * 10 * MIB)
        assert not session.closing.is_set()
        await asyncio.sleep(0.3)
        session.check_reading()
        assert session.closing.is_set()
    async with socket_of(node) as (session, _):
        for _ in range(7):
            session.send(b"a" * 10 * MIB)
        assert session.closing.is_set()


async def test_a_socket_that_does_not_register_is_closed(monkeypatch):
    monkeypatch.setattr(node_module, "REGISTER_SECONDS", 0.1)
    async with socket_of(WebNode()) as (session, _):
        await until(session.closing.is_set)


async def test_claim_checks_of_a_burst_are_deleted():
    async with working_node() as (node, client):
        before = await held_checks(client)
        frames = [
            NodeMessage(Kind.FRAME, uuid4(), payload=b"x" * 300_000) for _ in range(5)
        ]
        await tell(client, node, *frames)
        async with asyncio.timeout(5):
            while await client.xlen(node_inbox(node.id)):
                await asyncio.sleep(0.01)
        assert set(await held_checks(client)) <= set(before)


async def test_a_payload_that_redis_cannot_give_now_is_asked_for_again(monkeypatch):
    async with working_node() as (node, client), socket_of(node) as (session, plugin):
        plugin.reads.set()
        get, failures = node._client.get, [RedisAwayError(), RedisAwayError()]

        async def failing_get(key):
            if failures:
                raise failures.pop()
            return await get(key)

        monkeypatch.setattr(node._client, "get", failing_get)
        large = NodeMessage(Kind.FRAME, session.id, payload=b"x" * 300_000)
        await tell(client, node, large, NodeMessage(Kind.FRAME, session.id))
        await until(lambda: len(plugin.got) == 2)
        assert not failures
        assert len(plugin.got[0]) == 300_000


@pytest.mark.parametrize("again", [False, True])
async def test_the_stream_of_a_cancelled_run_is_gone(again):
    async with working_node() as (node, client), socket_of(node) as (session, plugin):
        plugin.reads.set()
        run, key = uuid4(), ""
        key = run_inbound(run)
        await tell(client, node, start_of(session, run))
        await until(lambda: session.run_ids)
        for _ in range(20):
            node.relay.push(run, b'"old"')
            await asyncio.sleep(0.001)
        node.relay.push(run, b'"old"')
        await client.delete(key)  # as the worker does
        node._handle(NodeMessage(Kind.CANCEL, session.id, run))
        if again:
            node.relay.open(run, 60)
            node.relay.push(run, b'"new"')
        await asyncio.sleep(0.3)
        entries = await client.xrange(key)
        assert [fields for _, fields in entries] == [{b"f": b'"new"'}] * again
        assert node.relay.pending_bytes == 0
        await client.delete(key)


async def test_the_next_invocation_stops_one_that_its_dead_worker_had_not():
    async with working_node() as (node, client), socket_of(node) as (session, plugin):
        plugin.reads.set()
        run = uuid4()
        for number in (1, 2):
            message = start_of(session, run)
            message.number = number
            await tell(client, node, message)
            await until(lambda: len(plugin.got) >= 2 * number - 1)  # noqa: B023
            if number == 1:
                node.relay.push(run, b'"old"')
        frames = [json.loads(frame) for frame in plugin.got]
        actions = [frame["action"] for frame in frames]
        assert actions == ["run_runner", "__cancel_action", "run_runner"]
        assert frames[1]["data"] == {"seq_id": frames[0]["seq_id"]}
        assert list(session.run_ids) == [run]
        node.relay.push(run, b'"new"')
        await asyncio.sleep(0.3)
        entries = await client.xrange(run_inbound(run, 2))
        assert [fields for _, fields in entries] == [{b"f": b'"new"'}]
        assert not await client.exists(run_inbound(run))
        await client.delete(run_inbound(run, 2))


async def test_an_invocation_that_nobody_stopped_says_nothing_in_the_next():
    """Its worker died as it parked the run, which goes on at another web node."""
    run = uuid4()
    async with working_node() as (old, client), working_node() as (new, _):
        old.relay.open(run, 60, 1)
        new.relay.open(run, 60, 2)
        for node, frame in ((old, b'"old"'), (new, b'"new"'), (old, b'"older"')):
            node.relay.push(run, frame)
            await until(lambda: not node.relay.pending_bytes)  # noqa: B023
            await node.relay._flushing
        found = await client.xrange(run_inbound(run, 2))
        assert [fields for _, fields in found] == [{b"f": b'"new"'}]
        assert await client.xlen(run_inbound(run)) == 2
        await client.delete(run_inbound(run), run_inbound(run, 2))


@pytest.mark.parametrize("number", [1, 2])
async def test_a_run_on_a_socket_keeps_the_slot_that_was_reserved_for_it(number):
    async with working_node() as (node, client), socket_of(node) as (session, _):
        run, workspace, runner = uuid4(), str(uuid4()), "plugin:acme/placed/default"
        session.registered = SimpleNamespace(
            workspace=workspace, actions={runner: None}, plugin="acme/placed"
        )
        await node._announce()
        placement = Placement(client)
        reserved = await placement.reserve(run, workspace, runner, 60, 0, number)
        assert isinstance(reserved, Place)
        await tell(client, node, replace(start_of(session, run), number=number))
        await until(lambda: session.run_ids)
        await node._announce()
        slots = connection_runs(session.id)
        assert await client.zcard(slots) == 1
        await placement.release(reserved, run, number)
        assert not await client.zcard(slots)
        await client.delete(runner_connections(workspace, runner))


async def test_a_worker_that_is_late_stops_no_later_invocation():
    """One that slept as it parked a run wakes up when that goes on elsewhere."""
    async with working_node() as (node, client), socket_of(node) as (session, plugin):
        plugin.reads.set()
        run, held = uuid4(), uuid4()
        for number in (1, 2):
            message = start_of(session, run)
            message.number = number
            await tell(client, node, message)
        await until(lambda: len(plugin.got) == 3)
        stop = NodeMessage(Kind.CANCEL, session.id, run, number=1)
        await tell(client, node, stop)
        later = NodeMessage(Kind.FRAME, session.id, payload=b"later")
        await tell(client, node, later)
        await until(lambda: b"later" in plugin.got)
        assert list(session.run_ids) == [run]
        node.relay.push(run, b'"new"')
        async with asyncio.timeout(5):
            while not await client.xlen(run_inbound(run, 2)):
                await asyncio.sleep(0.01)
        waits = start_of(session, held)
        waits.number = 2
        session.held[held] = waits.fields([])
        node._hold(NodeMessage(Kind.CANCEL, session.id, held, number=1).fields([]))
        assert held in session.held
        stop.number = 2
        await tell(client, node, stop)
        await until(lambda: run not in session.run_ids)
        await client.delete(run_inbound(run, 2))


async def test_a_run_that_comes_again_gets_a_pipe_that_is_open():
    async with working_node() as (node, client):
        run = uuid4()
        node.relay.open(run, 60)
        node.relay.push(run, b'"last"')
        node.relay.close(run)
        node.relay.open(run, 60)
        node.relay.push(run, b'"first"')
        await asyncio.sleep(0.2)
        entries = await client.xrange(run_inbound(run))
        assert entries[-1][1] == {b"f": b'"first"'}
        assert node.relay.pending_bytes == 0
        await client.delete(run_inbound(run))


async def test_a_round_that_fails_is_not_the_last(monkeypatch):
    rounds = []

    async def fail():
        rounds.append(1)
        raise RuntimeError

    async def short(_seconds, sleep=asyncio.sleep):
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", short)
    task = asyncio.create_task(WebNode()._forever(fail))
    async with asyncio.timeout(5):
        while len(rounds) < 3:
            await short(0)
    task.cancel()


def test_wrong_tokens_do_not_use_up_what_is_left():
    throttle = ConnectThrottle()
    assert throttle.has_room("a")
    assert not throttle.knows("a")
    for _ in range(BURST):
        assert throttle.admits("a")
    assert throttle.knows("a")
    assert not throttle.has_room("a")
    assert throttle.has_room("b")


async def test_wrong_tokens_are_throttled_by_address_before_the_database():
    node: Any = WebNode()
    asked: list[str] = []

    async def database(_verify, plain):
        asked.append(plain)
        return True if plain == "good" else None

    node.database = database
    consumer = PluginConsumer()
    assert await consumer._is_admitted(node, "good", "office")
    for number in range(3 * BURST):
        assert not await consumer._is_admitted(node, f"wrong {number}", "office")
    assert len(asked) <= BURST + 5
    assert await consumer._is_admitted(node, "good", "office")
    assert await consumer._is_admitted(node, "good", "elsewhere")
    assert not node.throttle.knows("wrong 0")
