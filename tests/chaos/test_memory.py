"""400 MB from a plugin, and readers that do not read: every process keeps its size."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from agents.registry.tokens import create_plugin_token
from langbot.core.tokens import create_api_token
from tests.factories import AgentFactory
from tests.support.load import Load, broken_ledgers
from tests.support.plugin_manifests import runner_component
from tests.support.raw_plugin import RawPlugin

MEGABYTES = 400
GROWTH_MEGABYTES = 50

pytestmark = [pytest.mark.timeout(400)]


class Sizes:
    """How much each process grew at most while a `with` block lasts, in MB."""

    def __init__(self, processes):
        self._processes = [psutil.Process(process.pid) for process in processes]
        self._names = [process.log.stem for process in processes]
        self._done = threading.Event()

    def __enter__(self):
        self._before = self._now()
        self._most = list(self._before)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()

    def _now(self):
        return [process.memory_info().rss for process in self._processes]

    def _watch(self):
        while not self._done.wait(0.1):
            self._most = list(map(max, self._most, self._now()))

    @property
    def growth(self):
        grown = (
            most - before for most, before in zip(self._most, self._before, strict=True)
        )
        return {
            name: round(size / 2**20)
            for name, size in zip(self._names, grown, strict=True)
        }


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
        with Sizes([*cluster.webs, *cluster.workers]) as sizes:
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


def raw_plugin(cluster):
    _, token = create_plugin_token("raw", plugins=["raw/plugin"])
    url = cluster.url().replace("http", "ws", 1) + "/ws/plugin/"
    plugin = RawPlugin(url, token)
    state = {"history": ["page"]}
    plugin.components = [runner_component("Runner", permissions=state)]
    return plugin


async def flood_with_calls(plugin, total_bytes):
    """Register, take one run and call the host in it without reading an answer."""
    async with plugin:
        await plugin.handshake()
        request = await plugin.next_run()
        run_id = request["data"]["context"]["run_id"]
        plugin.stop_reading()
        data = {
            "run_id": run_id,
            "scope": "conversation",
            "key": "k",
            "pad": "x" * 2000,
        }
        sent = number = 0
        while sent < total_bytes:
            number += 1
            frame = {"seq_id": number, "action": "state_get", "data": data}
            text = json.dumps(frame)
            sent += len(text)
            with suppress(TimeoutError):
                async with asyncio.timeout(30):
                    await plugin.send_text(text)
        return sent


def test_a_flood_of_host_calls_whose_answers_nobody_reads(
    cluster, flooded, workspace, record
):
    agent = AgentFactory(workspace=workspace, runner_id="plugin:raw/plugin/default")
    plugin, sent = raw_plugin(cluster), []

    def flood():
        with suppress(ConnectionClosed, ConnectionError):
            sent.append(asyncio.run(flood_with_calls(plugin, MEGABYTES * 2**20)))

    thread = threading.Thread(target=flood)
    load = Load()
    with flooded():
        thread.start()
        load.send(agent, "x", "")
        record("ended after", load.wait(200))
        thread.join(200)
    record("sent all", bool(sent))
    record("status", dict(load.statuses()))
    assert broken_ledgers(load.ids) == []


def test_a_client_that_stops_reading_its_events(
    cluster, flooded, flooding_agent, user, workspace, record
):
    _, token = create_api_token(user, workspace, "tests")
    load = Load()
    with flooded(), socket.create_connection(("127.0.0.1", cluster.ports[0])) as client:
        run = load.send(flooding_agent, "60 log 20", "all sent")
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
