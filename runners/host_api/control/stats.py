"""Statistics, for the control plane."""

from typing import Any

from pydantic import Field

from runners.host_api.calls import CallData
from runners.host_api.control.calls import NoData, Seconds
from runners.runtimes import stats
from runners.runtimes.callers import Caller


class WindowRequest(CallData):
    start_time: Seconds | None = None
    end_time: Seconds | None = None


class RunStatsRequest(WindowRequest):
    runner_id: str | None = None


class RunnerStatsRequest(WindowRequest):
    limit: int = Field(default=50, ge=1)


def run_stats(caller: Caller, data: RunStatsRequest) -> dict[str, Any]:
    """Return numbers of the runs created in a window; the last hour by default."""
    return stats.run_stats(caller, _window(data), data.runner_id)


def runtime_stats(caller: Caller, _data: NoData) -> dict[str, Any]:
    """Return numbers of the remote runtimes."""
    return stats.runtime_stats(caller)


def runner_stats(caller: Caller, data: RunnerStatsRequest) -> dict[str, Any]:
    """Return numbers of runs by runner."""
    return stats.runner_stats(caller, _window(data), data.limit)


def _window(data: WindowRequest) -> stats.Window:
    return stats.Window.of(data.start_time, data.end_time)
