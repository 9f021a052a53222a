"""Plugins that send nonsense or connect for ever: nobody else notices."""

import asyncio
import time
from collections import Counter
from datetime import datetime
from statistics import median

import pytest
from websockets.exceptions import InvalidStatus

from tests.support import host_rows
from tests.support.fuzzed_frames import draw_frames
from tests.support.fuzzing_plugin import (
    GARBAGE,
    NOT_UTF8,
    FuzzingPlugin,
    errors_logged,
)
from tests.support.host import aside
from tests.support.process_sizes import Sizes
from tests.support.raw_plugin import RawPlugin
from tests.support.raw_runs import assert_serves, connected, ended

FRAMES = 20_000
WARMING_FRAMES = 1000
ROUNDS = 7
RUNS_A_ROUND = 10
SLOWER_AT_MOST = 1.5
GROWTH_MEGABYTES = 50
RECONNECTS = 350
RECONNECT_SECONDS = 55.0  # what the SDK does to a host that lets it (wire 1.3)

pytestmark = [pytest.mark.timeout(900)]


def sizes_of(host):
    running = host.processes.running
    return Sizes({name: running[name].pid for name in ("web", "worker-1")})


async def seconds_of_runs(host):
    """Return how long runs of another plugin take, by the clock of the host."""
    took = []
    for _ in range(RUNS_A_ROUND):
        run = await aside(host.ask, "are you there?")
        assert run["status"] == "completed"
        begun, end = (datetime.fromisoformat(run[at]) for at in COUNTED)
        took.append((end - begun).total_seconds())
    return median(took)


COUNTED = ("created_at", "finished_at")


async def while_sending(host, fuzzing, frames):
    """Return the seconds of the other plugin's runs while the frames are sent."""
    sending = asyncio.create_task(fuzzing.send_all(frames))
    try:
        return await seconds_of_runs(host)
    finally:
        await sending


async def test_twenty_thousand_fuzzed_frames(host, record):
    frames = draw_frames(FRAMES)
    part = -(-(FRAMES - WARMING_FRAMES) // ROUNDS)
    ratios = []
    async with connected(host, "fuzzing-on") as plugin:
        fuzzing = FuzzingPlugin(host, plugin)
        await while_sending(host, fuzzing, frames[:WARMING_FRAMES])
        with sizes_of(host) as sizes:
            for start in range(WARMING_FRAMES, FRAMES, part):
                alone = await seconds_of_runs(host)
                beside = await while_sending(
                    host, fuzzing, frames[start : start + part]
                )
                ratios.append(beside / alone)
        completing = asyncio.create_task(fuzzing.complete_rest())
        endings = Counter([await ended(host, run_id) for run_id in fuzzing.runs])
        completing.cancel()
        assert await ended(host, await fuzzing.serve()) == ("completed", "")
    record("sent", fuzzing.sent)
    record("cut off", dict(fuzzing.closes))
    record("answers", dict(fuzzing.errors))
    record("runs", {" ".join(ending): many for ending, many in endings.items()})
    record("growth in MB", sizes.growth)
    record("others are slower by", [round(ratio, 2) for ratio in ratios])
    assert endings["completed", ""] > 0
    assert len(ratios) == ROUNDS
    assert fuzzing.sent >= FRAMES - fuzzing.closes.total()
    assert fuzzing.closes.keys() <= {GARBAGE, NOT_UTF8}
    assert await aside(errors_logged, host) == []
    assert max(sizes.growth.values()) <= GROWTH_MEGABYTES
    assert median(ratios) <= SLOWER_AT_MOST


async def connect_and_drop(host, token):
    """Connect, begin to register and drop the socket; says whether it was let in."""
    plugin = RawPlugin(host.socket_url, token, name="restless")
    try:
        await plugin.open()
    except InvalidStatus as refused:
        assert refused.response.status_code == 403
        return False
    registering = asyncio.create_task(plugin.register(plugin.container()))
    await asyncio.sleep(0)
    await plugin.abort()
    await asyncio.gather(registering, return_exceptions=True)
    return True


async def reconnect_for_a_minute(host, token):
    """Connect 350 times at the pace of the SDK; returns how many were let in."""
    begun, admitted = time.monotonic(), 0
    for number in range(RECONNECTS):
        due = begun + number * RECONNECT_SECONDS / RECONNECTS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        admitted += await connect_and_drop(host, token)
    return admitted


async def test_350_reconnects_in_a_minute(host, record):
    async with connected(host, "steady") as steady:
        async with connected(host, "restless") as restless:
            token = restless.token
        await assert_serves(host, steady)
        with sizes_of(host) as sizes:
            storm = asyncio.create_task(reconnect_for_a_minute(host, token))
            while not storm.done():
                await assert_serves(host, steady)
                await asyncio.sleep(0.5)
        record("let in", await storm)
        record("growth in MB", sizes.growth)
        assert max(sizes.growth.values()) <= GROWTH_MEGABYTES

        def none_online():
            rows = host.inside(host_rows.connections_of, plugin="raw/restless")
            return all(row["status"] != "online" for row in rows)

        await aside(host.wait_for, none_online, "no row says online")
        again = RawPlugin(host.socket_url, token, name="restless")
        await again.open_when_admitted()
        again.components = restless.components
        await again.handshake()
        await assert_serves(host, again, steady)
        await again.close()
    assert await aside(errors_logged, host) == []
