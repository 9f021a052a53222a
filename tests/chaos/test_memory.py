"""1 GB from a plugin, and readers that do not read: every process keeps its size."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed

from agents.registry.tokens import create_plugin_token
from langbot.core.tokens import create_api_token
from tests.factories import AgentFactory
from tests.support.load import Load, broken_ledgers
from tests.support.process_sizes import Sizes
from tests.support.raw_plugin import RawPlugin

MEGABYTES = 400
# Of one connection: 4 MiB unread, 8 MiB on the way to Redis, 8 MiB kept until they are
# applied, each as it came and once more as it is worked on, and the allocator's rest.
GROWTH_MEGABYTES = 64

pytestmark = [pytest.mark.timeout(400)]


@pytest.fixture
def flooded(cluster, waiting_agent, record):
    """A warm host, and a context that measures it while other runs go on."""
    cluster.start(webs=1, workers=1, plugins=1)
    warm = Load()
    for number in range(100):
        warm.send(waiting_agent, f"0.1 {number}", f"done {number}")
    warm.wait(60)

    @contextmanager
    def measure():
        others = Load()
        pids = {one.log.stem: one.pid for one in [*cluster.webs, *cluster.workers]}
        with Sizes(pids) as sizes:
            for number in range(20):
                others.send(waiting_agent, f"3 {number}", f"done {number}")
            yield
            others.wait(90)
        record("growth in MB", sizes.growth)
        assert others.statuses() == {"completed": 20}
        assert max(sizes.growth.values()) <= GROWTH_MEGABYTES

    return measure


@pytest.fixture
def flooding_agent(workspace):
    return AgentFactory(workspace=workspace, runner_id="plugin:tests/load/flooding")


def test_a_flood_of_deltas(flooded, flooding_agent, record):
    load = Load()
    with flooded():
        load.send(flooding_agent, f"{MEGABYTES} delta 0", "")
        record("ended after", load.wait(200))
    record("status", dict(load.statuses()))
    assert broken_ledgers(load.ids) == []


async def flood_with_calls(plugin, request):
    """Call the host 400 MB long without reading an answer."""
    run_id = request["data"]["context"]["run_id"]
    data = {"run_id": run_id, "scope": "conversation", "key": "k", "pad": "x" * 2000}
    plugin.stop_reading()
    for number in range(MEGABYTES * 2**20 // 2000):
        frame = {"seq_id": number, "action": "state_get", "data": data}
        async with asyncio.timeout(60):
            await plugin.send_text(json.dumps(frame))


async def flood_with_a_gigabyte(plugin, request):
    """Send 1 GB of frames, of which a run may say 2 MB."""
    await plugin.flood(request, 2**30, width=60_000)


async def flood_with_deltas(plugin, request):
    """Send 400 MB of results, whatever the host answers or cancels."""
    await plugin.flood(request, MEGABYTES * 2**20, width=16384)


def run_raw_plugin(cluster, flood):
    """Start a thread whose plugin takes one run and floods; it tells how it ended."""
    _, token = create_plugin_token("raw", plugins=["raw/plugin"])
    url = cluster.url().replace("http", "ws", 1) + "/ws/plugin/"
    plugin, ends = RawPlugin(url, token), []

    async def serve():
        async with plugin:
            await plugin.handshake()
            try:
                await flood(plugin, await plugin.next_run())
            except (ConnectionClosed, ConnectionError):
                ends.append("cut off")
            else:
                ends.append("sent all")

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    return thread, ends


@pytest.fixture
def raw_agent(workspace):
    return AgentFactory(workspace=workspace, runner_id="plugin:raw/plugin/default")


@pytest.mark.parametrize(
    "flood", [flood_with_calls, flood_with_deltas, flood_with_a_gigabyte]
)
def test_a_raw_plugin_that_heeds_nothing(cluster, flooded, raw_agent, record, flood):
    load = Load()
    with flooded():
        thread, ends = run_raw_plugin(cluster, flood)
        load.send(raw_agent, "x", "")
        record("run ended after", load.wait(100))
        thread.join(200)
    record("plugin", ends)
    assert ends in (["cut off"], ["sent all"])
    record("status", dict(load.statuses()))
    assert load.statuses().keys() <= {"failed backpressure", "failed too_large"}
    assert broken_ledgers(load.ids) == []


def test_a_client_that_stops_reading_its_events(
    cluster, flooded, flooding_agent, user, workspace, record
):
    _, token = create_api_token(user, workspace, "tests")
    load = Load()
    with flooded(), socket.create_connection(("127.0.0.1", cluster.ports[0])) as client:
        run = load.send(flooding_agent, "14 log 20", "all sent")
        client.sendall(
            f"GET /api/v1/runs/{run.public_id}/stream/ HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        assert b"200 OK" in client.recv(100)
        record("ended after", load.wait(200))
        time.sleep(5)
    record("status", dict(load.statuses()))
    assert load.statuses() == {"completed": 1}
    assert broken_ledgers(load.ids) == []
