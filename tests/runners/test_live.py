import asyncio
import json
import random
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from agents.models import Agent
from langbot.lib.db import DatabaseExecutor
from langbot.lib.redis import quick_client, run_live
from runners import live, live_hub
from runners.admission import Incoming, admit
from runners.live import follow, follow_batches
from runners.models import RunEvent
from tests.support import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def engine():
    """Calls ledger functions on a thread of their own, as a worker would."""
    executor = DatabaseExecutor("engine", 1)
    yield executor
    await executor(_hang_up)
    executor.shutdown()


def _hang_up():
    """Return the thread's own connection, which would go with it, to the pool."""
    connection.close()


@pytest.fixture
def start(agent, engine):
    async def start():
        return await engine(_admit, agent.pk)

    return start


@pytest.fixture
async def own_hub():
    yield live_hub.hub()
    assert live_hub.hub().subscribers == 0  # nobody stayed subscribed
    await live_hub.hub().close()


def _admit(agent_id):
    agent = Agent.objects.get(pk=agent_id)
    incoming = Incoming(
        workspace=agent.workspace,
        source="test",
        event_id=str(uuid4()),
        type="message.received",
        trigger_source="api",
        agent=agent,
        input={"text": "hi"},
    )
    return ledger.begin(admit(incoming).run)


async def collect(run, after=0, into=None):
    seen = [] if into is None else into
    async with asyncio.timeout(30), aclosing(follow(run.public_id, after)) as events:
        async for event in events:
            if event is not None:
                seen.append(event)
    return seen


def seqs(events):
    return [event["seq"] for event in events]


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_ended_run_is_read_from_its_ledger(start, engine, own_hub):
    run = await start()
    await engine(ledger.write, run, "a", "b", publish=False)
    last = await engine(ledger.complete, run, publish=False)
    events = await collect(run)
    assert seqs(events) == list(range(1, last + 1))
    assert set(events[0]) == {"run_id", "seq", "type", "data", "created_at"}
    assert events[0]["run_id"] == str(run.public_id)
    assert [event["data"].get("text") for event in events[1:3]] == ["a", "b"]
    assert seqs(await collect(run, after=3)) == [4]
    assert await collect(run, after=last) == []
    assert await collect(run, after=last + 100) == []


async def test_live_events_come_at_once(start, engine, own_hub):
    run = await start()
    seen: list[Any] = []
    reader = asyncio.create_task(collect(run, into=seen))
    await until(lambda: len(seen) == 1)
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    delays = []
    for number in range(20):
        await engine(ledger.write, run, f"{number}")
        published = loop.time()
        await until(lambda expected=number: len(seen) == expected + 2)
        delays.append(loop.time() - published)
    last = await engine(ledger.complete, run)
    assert seqs(await reader) == list(range(1, last + 1))
    assert sorted(delays)[len(delays) // 2] < 0.1


async def test_a_gap_in_the_stream_is_filled_from_the_ledger(start, engine, own_hub):
    run = await start()
    reader = asyncio.create_task(collect(run))
    await until(lambda: own_hub.subscribers == 1)
    await engine(ledger.write, run, "lost", "lost too", publish=False)
    await engine(ledger.write, run, "heard")
    last = await engine(ledger.complete, run)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_what_was_never_published_is_noticed(start, engine, own_hub):
    run = await start()
    reader = asyncio.create_task(collect(run))
    await until(lambda: own_hub.subscribers == 1)
    last = await engine(ledger.complete, run, publish=False)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_a_repeat_in_the_stream_is_dropped(start, engine, own_hub):
    run = await start()
    seen: list[Any] = []
    reader = asyncio.create_task(collect(run, into=seen))
    await until(lambda: own_hub.subscribers == 1)
    await engine(ledger.write, run, "a")
    await until(lambda: len(seen) == 2)
    quick_client().delete(run_live(run.public_id))
    rows = await engine(lambda: list(RunEvent.objects.filter(run=run).order_by("seq")))
    await engine(ledger.announce, run, rows)
    last = await engine(ledger.complete, run)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_an_entry_that_is_no_event_does_no_harm(start, engine, own_hub):
    run = await start()
    reader = asyncio.create_task(collect(run))
    await until(lambda: own_hub.subscribers == 1)
    for fields in ({b"x": b"1"}, {b"e": b"{"}, {b"e": b"\xff"}, {b"e": b"7"}):
        broken: dict[Any, Any] = dict(fields)
        quick_client().xadd(run_live(run.public_id), broken, id="1-*")
    last = await engine(ledger.complete, run)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_it_works_without_redis(start, engine, settings, monkeypatch, own_hub):
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": "redis://127.0.0.1:1/0"}
    run = await start()
    reader = asyncio.create_task(collect(run))
    await until(lambda: own_hub.subscribers == 1)
    await engine(ledger.write, run, "a", publish=False)
    await asyncio.sleep(0.1)
    last = await engine(ledger.complete, run, publish=False)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_silence_is_a_heartbeat_that_reads_the_ledger(
    start, engine, own_hub, monkeypatch
):
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.3)
    run = await start()
    beats: list[Any] = []
    async with asyncio.timeout(10), aclosing(follow(run.public_id)) as events:
        async for event in events:
            beats.append(event)
            if beats.count(None) == 1 and len(beats) == 2:
                await engine(ledger.write, run, "unheard", publish=False)
            if beats.count(None) == 2:
                break
    assert [event and event["seq"] for event in beats] == [1, None, 2, None]


async def test_a_slow_subscriber_is_dropped_and_can_resume(
    start, engine, own_hub, monkeypatch
):
    monkeypatch.setattr(live_hub, "SLOW_SECONDS", 0.5)
    run = await start()
    batches = follow_batches(run.public_id)
    got = [event.seq for event in await anext(batches)]
    pull = asyncio.create_task(anext(batches))
    await until(lambda: own_hub.subscribers == 1)
    await engine(ledger.write, run, "first")
    got += [event.seq for event in await pull]
    subscription = next(iter(next(iter(own_hub._topics.values())).subscriptions))
    for _ in range(20):  # nobody reads meanwhile
        await engine(ledger.write, run, *["x" * 1000] * 50)
        assert len(subscription._events) <= live_hub.BUFFER_EVENTS
        assert subscription._characters <= live_hub.BUFFER_CHARACTERS + 2000
        await asyncio.sleep(0.05)
    await until(lambda: subscription.is_dropped)
    assert not subscription._events
    async with asyncio.timeout(5):
        got += [event.seq async for batch in _each(batches) for event in batch]
    last = await engine(ledger.complete, run)
    got += seqs(await collect(run, after=got[-1]))
    assert got == list(range(1, last + 1))


async def _each(batches):
    async with aclosing(batches):
        async for batch in batches:
            yield batch


async def test_a_pause_below_the_limit_loses_nothing(start, engine, own_hub):
    run = await start()
    got: list[Any] = []
    async with asyncio.timeout(20), aclosing(follow_batches(run.public_id)) as batches:
        got += [event.seq for event in await anext(batches)]
        await engine(ledger.write, run, "now live")
        got += [event.seq for event in await anext(batches)]
        await engine(ledger.write, run, *["x" * 1000] * 1000)
        await asyncio.sleep(0.5)
        last = await engine(ledger.complete, run)
        async for batch in batches:
            got += [event.seq for event in batch]
    assert got == list(range(1, last + 1))


async def test_an_unknown_run_yields_nothing(db, own_hub):
    assert [event async for event in follow(uuid4())] == []


@pytest.mark.parametrize("seed", range(5))
async def test_readers_that_come_and_go_see_every_event_once(
    start, engine, own_hub, seed
):
    """Eight readers that reconnect at random, a stream that loses entries."""
    dice = random.Random(seed)  # noqa: S311  a repeatable schedule, no secret
    run = await start()
    readers = [
        asyncio.create_task(_restless(run, random.Random(seed * 100 + number)))  # noqa: S311  as above
        for number in range(8)
    ]
    for number in range(60):
        texts = [f"{number}.{part}" for part in range(dice.randrange(1, 6))]
        await engine(ledger.write, run, *texts, publish=dice.random() > 0.2)
        await asyncio.sleep(dice.random() * 0.02)
    last = await engine(ledger.complete, run)
    for seen in await asyncio.gather(*readers):
        assert seen == list(range(1, last + 1))


async def _restless(run, dice):
    seen: list[Any] = []
    while True:
        await asyncio.sleep(dice.random() * 0.1)
        patience = dice.randrange(1, 40)
        after = seen[-1] if seen else 0
        async with asyncio.timeout(30), aclosing(follow(run.public_id, after)) as live:
            async for event in live:
                if event is None:
                    continue
                seen.append(event["seq"])
                if event["type"] == "run.completed":
                    return seen
                patience -= 1
                if not patience:
                    break


def test_an_event_is_one_line_of_json(agent):
    run = _admit(agent.pk)
    ledger.write(run, "two\nlines\u2028and \x85 more", publish=False)
    row = RunEvent.objects.get(run=run, seq=2)
    event = live.event_of(run.public_id, row.seq, row.type, row.data, row.created_at)
    assert "\n" not in event.text
    assert "\r" not in event.text
    assert json.loads(event.text) == event.document


async def test_a_marker_without_the_event_sends_to_the_ledger(start, engine, own_hub):
    run = await start()
    seen: list[Any] = []
    reader = asyncio.create_task(collect(run, into=seen))
    await until(lambda: own_hub.subscribers == 1)
    await engine(ledger.write, run, "large", publish=False)
    quick_client().xadd(run_live(run.public_id), {b"s": b""}, id="2-0")
    await until(lambda: len(seen) == 2, seconds=1.0)
    last = await engine(ledger.complete, run)
    assert seqs(await reader) == list(range(1, last + 1))


async def test_pages_of_large_events_are_bounded(start, engine, own_hub):
    run = await start()
    for _ in range(6):
        await engine(ledger.write, run, *["x" * 700_000] * 3, publish=False)
    last = await engine(ledger.complete, run, publish=False)
    got: list[Any] = []
    async with aclosing(follow_batches(run.public_id)) as batches:
        async for batch in batches:
            got += [event.seq for event in batch]
            assert sum(len(event.text) for event in batch) < 8 * 1024 * 1024
    assert got == list(range(1, last + 1))
