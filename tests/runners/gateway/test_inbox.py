"""A web node's inbox holds a bounded number of bytes, whoever writes to it."""

import asyncio
from uuid import uuid4

import pytest

from langbot.lib.redis import claim_check, node_inbox, node_inbox_size, stream_client
from runners.engine.outgoing import Outgoing
from runners.gateway.messages import Kind, NodeMessage
from tests.runners.gateway.test_node import socket_of, working_node

KIB = 1024
BOUND = 4 * KIB * KIB


@pytest.fixture
def four_mebibytes(settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"node_inbox_bytes": BOUND}}


@pytest.fixture
async def client():
    client = stream_client()
    yield client
    await client.aclose()


def frame(size, connection=None):
    return NodeMessage(Kind.FRAME, connection or uuid4(), payload=b"x" * size)


async def flood(client, node, sizes, connection=None):
    """Send frames as several workers do; returns how many were refused."""
    refused = []
    writers = [Outgoing(client) for _ in range(3)]
    for number, size in enumerate(sizes):
        message = frame(size, connection)
        writers[number % 3].to_node(node, message, lambda: refused.append(1))
        if number % 20 == 0:
            await asyncio.sleep(0)  # several pipelines, as in life
    for writer in writers:
        await writer.drain()
        await writer.drain()  # what the answers added
    return len(refused)


async def bytes_in(client, key):
    return sum(len(fields.get(b"f", b"")) for _, fields in await client.xrange(key))


async def test_a_node_that_reads_nothing_gets_so_much_and_no_more(
    client, four_mebibytes
):
    node = str(uuid4())
    refused = await flood(client, node, [100 * KIB] * 300)
    held = await bytes_in(client, node_inbox(node))
    assert BOUND - 200 * KIB < held <= BOUND
    assert refused == 300 - held // (100 * KIB)
    for key in (node_inbox(node), node_inbox_size(node)):
        assert 0 < await client.ttl(key) <= 60


async def test_small_frames_count_with_what_they_take_beside(client, four_mebibytes):
    node = str(uuid4())
    assert await flood(client, node, [10] * 10_000) > 0
    assert await client.memory_usage(node_inbox(node), samples=0) <= BOUND


async def test_what_is_put_aside_counts_and_is_deleted_when_refused(
    client, four_mebibytes
):
    node = str(uuid4())
    before = set(await client.keys(claim_check("*")))
    refused = await flood(client, node, [KIB * KIB] * 10)
    assert refused == 7
    kept = set(await client.keys(claim_check("*"))) - before
    assert len(kept) == await client.xlen(node_inbox(node)) == 3
    await client.delete(*kept)


async def test_a_stop_still_finds_room(client, four_mebibytes):
    node, outgoing = str(uuid4()), Outgoing(client)
    await flood(client, node, [100 * KIB] * 60)
    length = await client.xlen(node_inbox(node))
    outgoing.to_node(node, NodeMessage(Kind.CANCEL, uuid4(), uuid4()))
    await outgoing.drain()
    assert await client.xlen(node_inbox(node)) == length + 1


async def test_a_node_that_reads_has_room_for_any_number(client, four_mebibytes):
    async with working_node() as (node, _), socket_of(node) as (session, plugin):
        plugin.reads.set()
        for _ in range(5):
            assert await flood(client, node.id, [300 * KIB] * 12, session.id) == 0
            async with asyncio.timeout(10):
                while await client.xlen(node_inbox(node.id)):
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while len(plugin.got) < 60:
                await asyncio.sleep(0.01)
        assert int(await client.get(node_inbox_size(node.id))) == 0


async def test_an_empty_stream_begins_at_zero(client, four_mebibytes):
    """As after a Redis that forgot the one and kept the other."""
    node = str(uuid4())
    await client.set(node_inbox_size(node), 10 * BOUND, ex=60)
    assert await flood(client, node, [10]) == 0
    assert int(await client.get(node_inbox_size(node))) < KIB
