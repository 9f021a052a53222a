"""Statistics are costly: a bounded window, and one at a time on a web node."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from runners.host_api.connection_calls import CONTROL
from runners.protocol.frames import Action
from runners.runtimes.stats import Window

DAY = 24 * 3600


@pytest.mark.parametrize("start", [0, 1_000 * DAY])
def test_a_window_is_at_most_31_days(start):
    end = 2_000 * DAY
    assert Window.of(start, end) == Window(end - 31 * DAY, end)
    assert Window.of(end - DAY, end) == Window(end - DAY, end)


async def test_statistics_leave_a_thread_to_the_other_calls():
    running = most = 0

    async def database(*_arguments):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return {}

    call: Any = SimpleNamespace(database=database)
    statistics = (Action.RUN_STATS, Action.RUNNER_STATS, Action.RUNTIME_STATS)
    await asyncio.gather(*(CONTROL[action](call) for action in statistics * 2))
    assert most == 1
    await asyncio.gather(*(CONTROL[Action.RUN_GET](call) for _ in range(2)))
    assert most == 2
