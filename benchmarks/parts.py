"""The parts of a benchmark run; each measures all hosts in turn."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import host_calls as calls
from benchmarks.deployments import DEPLOYMENTS, SERVICE
from benchmarks.history import measure_in_process
from benchmarks.load import Host, Load, LoadResult
from benchmarks.measure import interleave, median_of, memory
from benchmarks.plugins import SDK_PLUGIN

# Both hosts get two plugin processes where one would be the bottleneck.
_TWO_PLUGINS_FROM = 128
_WARM_UP_RUNS = 4
_STREAM_DELTAS = 1000
# Until a process at rest has given back what it does not use (`langbot.lib.collector`).
_REST_SECONDS = 25.0
_WAIT_SECONDS = _REST_SECONDS + 5
# The SDK's plugin produces results about this many times slower than the wire plugin.
_SDK_SLOWNESS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    rounds: int
    # Runs of one round by concurrency.
    runs: Mapping[int, int]
    waiting: int


Results = dict[str, Any]
Part = Callable[[Sequence[Host], Plan], Awaitable[Results]]


def make_plan(plugin_kind: str, *, quick: bool) -> Plan:
    """Return the plan that keeps a round at a few seconds."""
    runs = {1: 120, 8: 320, 32: 640, 128: 2560}
    divisor = (_SDK_SLOWNESS if plugin_kind == SDK_PLUGIN else 1) * (8 if quick else 1)
    fewer = {level: max(3, level, count // divisor) for level, count in runs.items()}
    return Plan(1 if quick else 3, fewer, 50 if quick else 150)


async def _rounds(
    hosts: Sequence[Host], plan: Plan, load: Load
) -> dict[str, list[LoadResult]]:
    warm_up = Load(min(load.concurrency, 2), _WARM_UP_RUNS)
    for host in hosts:
        await host.run_load(warm_up)
    measured = {host.name: partial(host.run_load, load) for host in hosts}
    return await interleave(plan.rounds, measured)


def _summary(rounds: Sequence[LoadResult], **medians: float) -> Results:
    return {**medians, "rounds": [item.as_dict() for item in rounds]}


async def throughput(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure runs per second and CPU per delta at each concurrency."""
    found: Results = {}
    for concurrency, runs in plan.runs.items():
        for host in hosts:
            await host.use_plugins(2 if concurrency >= _TWO_PLUGINS_FROM else 1)
        rounds = await _rounds(hosts, plan, Load(concurrency, runs))
        found[str(concurrency)] = {
            name: _throughput_summary(results) for name, results in rounds.items()
        }
    for host in hosts:
        await host.use_plugins(1)
    return found


def _throughput_summary(rounds: Sequence[LoadResult]) -> Results:
    def host_cpu(result: LoadResult) -> float:
        used = result.cpu_microseconds_per_delta
        return sum(cost for role, cost in used.items() if role != "plugin")

    return _summary(
        rounds,
        runs_per_second=median_of(rounds, lambda item: item.runs_per_second),
        latency_p50=median_of(rounds, lambda item: item.latency_p50),
        host_cpu_microseconds_per_delta=median_of(rounds, host_cpu),
        failed=sum(item.failed for item in rounds),
    )


async def stream(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure one run of 1,000 deltas, alone: the stream, and the run with it.

    The stream is what comes after a run was started; what is before and after it for
    any run is in the echo run's time.
    """
    load = Load(1, 5, deltas=_STREAM_DELTAS, host_calls=0)
    rounds = await _rounds(hosts, plan, load)
    return {
        name: _summary(
            results,
            seconds=median_of(results, lambda item: item.streamed_p50 or math.nan),
            run_seconds=median_of(results, lambda item: item.latency_p50),
        )
        for name, results in rounds.items()
    }


async def latency(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure an echo run and the first delta of a streaming run, alone."""
    echoes = await _rounds(hosts, plan, Load(1, 50, 0, 0, mode="echo"))
    streams = await _rounds(hosts, plan, Load(1, 20))
    return {
        host.name: {
            "echo_p50": median_of(echoes[host.name], lambda item: item.latency_p50),
            "first_delta_p50": median_of(
                streams[host.name], lambda item: item.first_delta_p50 or math.nan
            ),
        }
        for host in hosts
    }


async def idle_memory(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure the memory of hosts that were just started, after a few runs."""
    found: Results = {}
    for host in hosts:
        await host.run_load(Load(1, _WARM_UP_RUNS))
        sizes = memory(host.processes())
        ours = _pss(_without_services(sizes))
        found[host.name] = {"idle_bytes": sizes, "idle_pss_bytes": ours}
    return found


async def waiting_memory(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure memory at rest after work, and what one waiting run adds to it."""
    return {host.name: await _memory_of(host, plan.waiting) for host in hosts}


async def _memory_of(host: Host, waiting: int) -> Results:
    await host.use_plugins(2)
    # Caches and pools that the first runs fill are not the price of a waiting run.
    await host.run_load(Load(waiting, waiting, 0, 0, mode="echo"))
    await asyncio.sleep(_REST_SECONDS)
    idle = memory(host.processes())
    load = Load(waiting, waiting, 0, 0, mode="wait", seconds=_WAIT_SECONDS)
    running = asyncio.create_task(host.run_load(load))
    await asyncio.sleep(_REST_SECONDS)
    busy = memory(host.processes())
    result = await running
    await host.use_plugins(1)
    return {
        "waiting_runs": waiting,
        "failed": result.failed,
        "rest_bytes": idle,
        "waiting_bytes": busy,
        "rest_pss_bytes": _pss(_without_services(idle)),
        "bytes_per_waiting_run": (_pss(busy) - _pss(idle)) / waiting,
    }


def _without_services(
    found: Mapping[str, Mapping[str, int]],
) -> dict[str, Mapping[str, int]]:
    return {role: sizes for role, sizes in found.items() if not role.endswith(SERVICE)}


def _pss(found: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sizes["pss"] for role, sizes in found.items() if role != "plugin")


async def history(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure history pages while the conversation grows; no plugin takes part."""
    ours = [host.name for host in hosts if host.name in DEPLOYMENTS]
    return {
        name: await asyncio.to_thread(measure_in_process, name, quick=plan.rounds == 1)
        for name in ours
    }


async def host_calls(hosts: Sequence[Host], plan: Plan) -> Results:
    """Measure host calls from inside a runner of our own SDK, on a host of its own."""
    ours = [host.name for host in hosts if host.name in DEPLOYMENTS]
    return {
        name: await asyncio.to_thread(
            calls.measure_in_process, name, quick=plan.rounds == 1
        )
        for name in ours
    }


PARTS: Mapping[str, Part] = {
    "idle": idle_memory,
    "throughput": throughput,
    "stream": stream,
    "latency": latency,
    "memory": waiting_memory,
    "history": history,
    "host_calls": host_calls,
}
