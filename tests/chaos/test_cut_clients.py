"""Clients that lose their connection or read slowly; nobody else notices."""
# ruff: noqa: S311 - random places, no secrets

import asyncio
import json
import random
import statistics
import time

import pytest
from asgiref.sync import sync_to_async

from runners.clients.tokens import issue_token
from runners.live import document_of
from runners.models import AgentRun, RunEvent
from tests.support.load import Load
from tests.support.run_socket import RunSocket

CUTS = 100
ROUNDS = 7
READERS = 4
SLOW_BYTES = 1024  # a second

pytestmark = [pytest.mark.timeout(900), pytest.mark.django_db(transaction=True)]


def stored(run_key):
    run = AgentRun.objects.get(pk=run_key)
    rows = RunEvent.objects.filter(run=run).order_by("seq")
    documents = [document_of(run.public_id, row) for row in rows]
    return [json.dumps(one, sort_keys=True) for one in documents]


def begun(load, agent, user, text):
    """Send a message; returns the key of its run, its id and a token."""
    load.send(agent, text, "")
    run = AgentRun.objects.latest("pk")
    token = issue_token(run.public_id, run.workspace_id, user.pk)
    return run.pk, str(run.public_id), token


def as_text(frame):
    """Return an event's frame as `stored` has it."""
    frame = {**frame, "type": frame["event_type"]}
    names = ("run_id", "seq", "type", "data", "created_at")
    return json.dumps({name: frame[name] for name in names}, sort_keys=True)


async def read_some(url, run_id, token, got, most):
    """Add up to `most` events that come next; whether the run is complete."""
    after = json.loads(got[-1])["seq"] if got else 0
    async with RunSocket(url, run_id, token, resume_from=after) as client:
        for _ in range(most):
            frame = await client.frame("agent_event", "session_complete")
            if frame["type"] == "session_complete":
                return True
            got.append(as_text(frame))
    return False


async def test_a_stream_cut_at_random_on_two_webs_is_byte_equal(
    cluster, streaming_agent, user, record
):
    await sync_to_async(cluster.start)(webs=2, plugins=2)
    load, cuts, runs = Load(), 0, 0
    while cuts < CUTS:
        text = f"400 6 5 c{runs}"
        key, run_id, token = await sync_to_async(begun)(
            load, streaming_agent, user, text
        )
        got: list[tuple[int, str]] = []
        is_complete, runs = False, runs + 1
        while not is_complete:
            url = cluster.url(random.randrange(2))
            most = random.randint(1, 30)
            is_complete = await read_some(url, run_id, token, got, most)
            cuts += not is_complete
        assert got == await sync_to_async(stored)(key)
    record("cuts", cuts)
    record("runs", runs)


async def read_whole(url, run_id, token):
    got: list[str] = []
    await read_some(url, run_id, token, got, 10**9)
    return got


async def read_slowly(url, run_id, token, until):
    """Take 1 KB a second from the socket, as a bad line does."""
    reader, writer = await _raw_socket(url, run_id, token)
    while time.monotonic() < until:
        await reader.read(SLOW_BYTES)
        await asyncio.sleep(1)
    writer.close()


async def _raw_socket(url, run_id, token):
    """Open a WebSocket by hand: a library reads on behind the reader's back."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=SLOW_BYTES)
    head = (
        f"GET /ws/runs/{run_id}/ HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    text = json.dumps({"type": "auth", "token": token}).encode()
    size = bytes([0x80 | 126, *len(text).to_bytes(2, "big")])
    writer.write(bytes([0x81]) + size + bytes(4) + text)  # masked with zeros
    return reader, writer


async def one_round(url, load, agent, people, number):
    """Return the seconds that some readers take for a run each."""
    begin = sync_to_async(begun)
    runs = [await begin(load, agent, person, f"300 1 0 r{number}") for person in people]
    started = time.monotonic()
    readings = (read_whole(url, run_id, token) for _, run_id, token in runs)
    await asyncio.gather(*readings)
    return time.monotonic() - started


async def test_a_slow_reader_leaves_others_alone(
    cluster, streaming_agent, user, record
):
    await sync_to_async(cluster.start)(webs=1, plugins=2)
    url, load = cluster.url(), Load()
    begin = sync_to_async(begun)
    people = [user] * READERS
    ratios = []
    for number in range(ROUNDS):
        pair = {}
        for is_slow in random.sample([False, True], 2):
            slow = None
            if is_slow:
                # More than its socket's buffers hold.
                text = f"20000 8 0 {'s' * 200}"
                _, run_id, token = await begin(load, streaming_agent, user, text)
                until = time.monotonic() + 9
                slow = asyncio.create_task(read_slowly(url, run_id, token, until))
                await asyncio.sleep(1)
            pair[is_slow] = await one_round(url, load, streaming_agent, people, number)
            if slow is not None:
                await slow
        ratios.append(pair[True] / pair[False])
    record("median of ratios", statistics.median(ratios))
    assert statistics.median(ratios) <= 1.5


async def test_cancel_is_quick_and_nothing_follows(
    cluster, waiting_agent, user, record
):
    """Measured: cooperative runners are those of the SDK."""
    await sync_to_async(cluster.start)(webs=1, workers=2, plugins=2)
    load, took = Load(), []
    for number in range(40):
        _, run_id, token = await sync_to_async(begun)(
            load, waiting_agent, user, f"60 {number}"
        )
        async with RunSocket(cluster.url(), run_id, token) as client:
            while (await client.frame("agent_event"))["event_type"] != "run.started":
                pass
            asked = time.monotonic()
            await client.send(type="interrupt")
            events = await client.events()
            took.append(time.monotonic() - asked)
            assert events[-1]["data"]["code"] == "cancelled"
            assert sum(one["event_type"] == "run.failed" for one in events) == 1
    took.sort()
    record("cancel p95", took[int(len(took) * 0.95) - 1])
    record("cancel longest", took[-1])
