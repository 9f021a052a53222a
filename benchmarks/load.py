"""What a benchmark asks of a host, and what it gets to know."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from benchmarks.measure import Processes, cpu_seconds


@dataclass(frozen=True, slots=True)
class Load:
    """A number of equal runs, `concurrency` of them at any time."""

    concurrency: int
    runs: int
    deltas: int = 200
    host_calls: int = 5
    mode: str = "stream"
    seconds: float = 10.0

    @property
    def text(self) -> str:
        """Return the input text that tells the benchmark plugin what to do."""
        return (
            f"mode={self.mode} deltas={self.deltas} "
            f"host_calls={self.host_calls} seconds={self.seconds}"
        )


@dataclass(frozen=True, slots=True)
class RunTimes:
    """One finished run: seconds from the request to what its client sees of it."""

    total: float
    first_delta: float | None
    succeeded: bool
    # When the host begins to send it to its plugin; None when nobody tells.
    started: float | None = None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One measured round; seconds, and CPU seconds by role of the process."""

    load: Load
    seconds: float
    failed: int
    latency_p50: float
    latency_p95: float
    first_delta_p50: float | None
    streamed_p50: float | None
    """From when the host begins to send the run to its plugin to its seen end."""
    cpu: Mapping[str, float]

    @property
    def runs_per_second(self) -> float:
        """Return how many runs ended in one second."""
        return self.load.runs / self.seconds

    @property
    def cpu_microseconds_per_delta(self) -> dict[str, float]:
        """Return the CPU time of each role, spread over the deltas."""
        deltas = max(1, self.load.runs * self.load.deltas)
        return {role: used / deltas * 1e6 for role, used in self.cpu.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return everything for a JSON file."""
        return asdict(self) | {
            "runs_per_second": self.runs_per_second,
            "deltas_per_second": self.runs_per_second * self.load.deltas,
            "cpu_microseconds_per_delta": self.cpu_microseconds_per_delta,
        }


class Host(Protocol):
    """A host under load, with one benchmark plugin process to begin with."""

    name: str

    async def start(self) -> None:
        """Start the host and its plugin; return when a run can be started."""

    async def use_plugins(self, count: int) -> None:
        """Have exactly `count` plugin processes connected."""

    async def run_load(self, load: Load) -> LoadResult:
        """Carry a load to its end and measure it."""

    async def stop(self) -> None:
        """Stop everything that `start` started."""

    def processes(self) -> Processes:
        """Return the process ids by role, those of the plugin as `plugin`."""


RunOnce = Callable[[str], Awaitable[RunTimes]]


async def drive(load: Load, run_once: RunOnce, processes: Processes) -> LoadResult:
    """Carry out `load` with `run_once`, which gets a new conversation key each time."""
    numbers = itertools.count(1)
    prefix = f"benchmark-{time.time_ns()}"
    times: list[RunTimes] = []

    async def carry() -> None:
        while (number := next(numbers)) <= load.runs:
            times.append(await run_once(f"{prefix}-{number}"))

    cpu_before = cpu_seconds(processes)
    began = time.perf_counter()
    await asyncio.gather(*(carry() for _ in range(load.concurrency)))
    seconds = time.perf_counter() - began
    cpu_after = cpu_seconds(processes)
    cpu = {role: used - cpu_before[role] for role, used in cpu_after.items()}
    return _result(load, seconds, times, cpu)


def _result(
    load: Load, seconds: float, times: Sequence[RunTimes], cpu: Mapping[str, float]
) -> LoadResult:
    totals = sorted(run.total for run in times)
    firsts = [run.first_delta for run in times if run.first_delta is not None]
    streamed = [run.total - run.started for run in times if run.started is not None]
    return LoadResult(
        load=load,
        seconds=seconds,
        failed=sum(not run.succeeded for run in times),
        latency_p50=statistics.median(totals),
        latency_p95=totals[int(0.95 * (len(totals) - 1))],
        first_delta_p50=_median(firsts),
        streamed_p50=_median(streamed),
        cpu=cpu,
    )


def _median(seconds: Sequence[float]) -> float | None:
    return statistics.median(seconds) if seconds else None
