"""Measuring processes, rounds and machines."""

import datetime
import json
import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

Processes = Mapping[str, Sequence[int]]
Measured = TypeVar("Measured")

RESULTS = Path(__file__).parent / "results"


def cpu_seconds(processes: Processes) -> dict[str, float]:
    """Return user and system time of each role so far; a dead process counts 0."""
    return {role: sum(map(_cpu_of, pids)) for role, pids in processes.items()}


def _cpu_of(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def memory(processes: Processes) -> dict[str, dict[str, int]]:
    """Return `rss`, `pss` and `uss` of each role in bytes.

    Shared pages count once in the sum of `pss` and in every process of `rss`.
    """
    return {role: _memory_of(pids) for role, pids in processes.items()}


def _memory_of(pids: Iterable[int]) -> dict[str, int]:
    total = {"rss": 0, "pss": 0, "uss": 0}
    for pid in pids:
        try:
            found = psutil.Process(pid).memory_full_info()
        except psutil.NoSuchProcess:
            continue
        for kind in total:
            total[kind] += getattr(found, kind)
    return total


def total_memory(processes: Processes, kind: str = "pss") -> int:
    """Return the bytes of all roles together."""
    return sum(found[kind] for found in memory(processes).values())


def descendants(pid: int) -> list[psutil.Process]:
    """Return the process and all its children, those that still live."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


async def interleave(
    rounds: int, measured: Mapping[str, Callable[[], Awaitable[Measured]]]
) -> dict[str, list[Measured]]:
    """Measure A, B, A, B … so that what drifts on the machine meets all alike."""
    found: dict[str, list[Measured]] = {name: [] for name in measured}
    for number in range(rounds):
        # Every other round backwards: nobody always goes first.
        names = list(measured)
        order = names if number % 2 == 0 else names[::-1]
        for name in order:
            found[name].append(await measured[name]())
    return found


def median_of(items: Iterable[Measured], key: Callable[[Measured], float]) -> float:
    """Return the median of one number of several measurements."""
    return statistics.median(key(item) for item in items)


def machine_facts() -> dict[str, Any]:
    """Return what the numbers depend on; no names of machines or people."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    models = [line for line in text.splitlines() if line.startswith("model name")]
    return models[0].partition(":")[2].strip() if models else platform.processor()


def write_results(name: str, results: Mapping[str, Any]) -> Path:
    """Write `benchmarks/results/<date>-<name>.json` and return its path.

    A second run on the same day replaces the first.
    """
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"{now:%Y-%m-%d}-{name}.json"
    content = {"at": now.isoformat(timespec="seconds"), "machine": machine_facts()}
    text = json.dumps(content | dict(results), indent=2)
    partial = path.with_suffix(".tmp")
    partial.write_text(text + "\n")
    partial.replace(path)
    return path
