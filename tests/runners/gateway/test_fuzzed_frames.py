"""A thousand fuzzed frames: the short form of `tests.chaos.test_hostile_plugins`."""

import asyncio

from tests.support.fuzzed_frames import draw_frames
from tests.support.fuzzing_plugin import (
    GARBAGE,
    NOT_UTF8,
    FuzzingPlugin,
    errors_logged,
)
from tests.support.host import aside
from tests.support.raw_runs import assert_serves, connected, ended

FRAMES = 1000


async def test_fuzzed_frames_harm_no_other_plugin(host):
    frames = draw_frames(FRAMES)
    async with connected(host, "fuzzing") as plugin, connected(host, "calm") as calm:
        fuzzing = FuzzingPlugin(host, plugin)
        sending = asyncio.create_task(fuzzing.send_all(frames))
        for _ in range(3):
            await assert_serves(host, calm)
        await sending
        assert fuzzing.sent >= FRAMES - fuzzing.closes.total()
        assert fuzzing.closes.keys() <= {GARBAGE, NOT_UTF8}
        assert fuzzing.errors["invalid_request"] > 0
        completing = asyncio.create_task(fuzzing.complete_rest())
        statuses = {(await ended(host, run_id))[0] for run_id in fuzzing.runs}
        completing.cancel()
        assert "completed" in statuses
        assert await ended(host, await fuzzing.serve()) == ("completed", "")
        await assert_serves(host, calm)
    assert await aside(errors_logged, host) == []
