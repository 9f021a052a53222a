"""One reader for every stream of a process: it outlives its callbacks."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any, cast

from langbot.lib.exchange import Exchange
from langbot.lib.ids import uuid7
from langbot.lib.redis import run_inbound, stream_client
from langbot.lib.streams import StreamReader, after_entry


@asynccontextmanager
async def reading():
    reader, client = StreamReader(), stream_client()
    try:
        yield reader, client
    finally:
        await reader.stop()
        await client.aclose()


async def add(client, key, value):
    entry_id = await client.xadd(key, {b"v": value})
    await client.expire(key, 30)
    return entry_id


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_failing_callback_ends_nothing():
    failing, good = run_inbound(uuid7()), run_inbound(uuid7())
    calls: list[Any] = []
    got: list[Any] = []

    def fail(entries):
        calls.append(entries)
        raise KeyError("f")

    async with reading() as (reader, client):
        reader.watch(failing, "0-0", fail)
        reader.watch(good, "0-0", got.extend)
        for number in range(3):
            await add(client, failing, number)
            await until(lambda count=number: len(calls) > count)
        await add(client, good, b"fine")
        await until(lambda: got)


async def test_entries_read_for_an_earlier_watch_are_not_a_later_one():
    key = run_inbound(uuid7())
    before: list[Any] = []
    after: list[Any] = []
    async with reading() as (reader, client):
        first = await add(client, key, b"1")
        reader.watch(key, "0-0", before.extend)
        while not reader._read:
            await asyncio.sleep(0)
        original = reader._read_once

        async def read_then_replace(watched):
            answer = await original(watched)
            if any(name.decode() == key for name, _ in answer) and not after:
                reader._read_once = original
                reader.unwatch(key)
                reader.watch(key, first, after.extend)
            return answer

        reader._read_once = read_then_replace
        second = await add(client, key, b"2")
        await until(lambda: after)
    assert before == []
    assert [entry_id for entry_id, _ in after] == [second]


async def test_a_watch_that_comes_as_the_reader_is_woken_for_another_waits_for_none():
    early, late, later = (run_inbound(uuid7()) for _ in range(3))
    got: list[Any] = []
    async with reading() as (reader, client):
        reader.watch(early, "0-0", print)
        await asyncio.sleep(0.1)  # its read is under way
        await add(client, later, b"1")
        woken = reader._control
        assert woken is not None
        asked: list[Any] = []

        async def wake(commands):
            answer = await woken(commands)
            if not asked:
                asked.append(commands)
                await asyncio.sleep(0.1)  # the next read is under way
                reader.watch(later, "0-0", got.extend)
            return answer

        reader._control = cast("Exchange", wake)
        reader.watch(late, "0-0", print)
        try:
            async with asyncio.timeout(1):  # a read lasts 2 s
                await until(lambda: got)
        finally:
            reader._control = woken


def test_the_id_after_an_entry():
    assert after_entry(b"12-9") == "12-10"
