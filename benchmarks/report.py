"""What a person reads: medians, ratios to the null host, and which limit is missed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NULL = "null"
# Least share of the null host's runs per second, by concurrency.
RATIO_FLOORS = {"1": 0.06, "32": 0.12, "128": 0.16}
STREAM_FLOOR = 0.33
CPU_LIMIT_MICROSECONDS = 140
LATENCY_LIMIT_SECONDS = 0.040
WAITING_LIMIT_BYTES = 20 * 1024
HISTORY_GROWTH_LIMIT = 2.0
# Of a call's p50, measured from inside a runner; a search at 100,000 messages.
CALL_LIMITS_SECONDS = {
    "state_get": 0.003,
    "history_page": 0.006,
    "history_search": 0.015,
}
SEARCH_GROWTH_LIMIT = 3.0
IDLE_LIMIT_BYTES = 350 * 10**6


@dataclass(frozen=True, slots=True)
class Line:
    """One number of one host, and whether it keeps its limit."""

    host: str
    what: str
    value: str
    ratio: float | None = None
    kept: bool | None = None

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} of null"
        verdict = {True: "ok", False: "MISSED", None: ""}[self.kept]
        text = (
            f"{self.host:<11} {self.what:<28} {self.value:>12}  {ratio:<13} {verdict}"
        )
        return text.rstrip()


def lines(results: Mapping[str, Any]) -> list[Line]:
    """Return all lines of a benchmark's results, part by part."""
    found: list[Line] = []
    for name, part in results.items():
        if name == "idle":
            found += _idle(part)
        elif name == "throughput":
            found += _throughput(part)
        elif name == "stream":
            found += _stream(part)
        elif name == "latency":
            found += _latency(part)
        elif name == "memory":
            found += _memory(part)
        elif name == "history":
            found += _history(part)
        elif name == "host_calls":
            found += _host_calls(part)
    return found


def _throughput(part: Mapping[str, Any]) -> Iterator[Line]:
    for concurrency, hosts in part.items():
        null = hosts.get(NULL)
        for host, found in hosts.items():
            rate = found["runs_per_second"]
            ratio = rate / null["runs_per_second"] if null else None
            kept = _at_least(host, ratio, RATIO_FLOORS.get(concurrency))
            what = f"runs/s at {concurrency}"
            yield Line(host, what, f"{rate:.1f}", _shown(host, ratio), kept)
            cost = found["host_cpu_microseconds_per_delta"]
            limit = CPU_LIMIT_MICROSECONDS if concurrency == "32" else None
            kept = _at_most(host, cost, limit)
            what = f"host CPU per delta at {concurrency}"
            yield Line(host, what, f"{cost:.0f} us", None, kept)
            if found["failed"]:
                what = f"failed runs at {concurrency}"
                yield Line(host, what, str(found["failed"]), None, kept=False)


def _stream(part: Mapping[str, Any]) -> Iterator[Line]:
    null = part.get(NULL)
    for host, found in part.items():
        seconds = found["seconds"]
        ratio = null["seconds"] / seconds if null else None
        kept = _at_least(host, ratio, STREAM_FLOOR)
        value = f"{seconds:.3f} s"
        yield Line(host, "1,000-delta stream", value, _shown(host, ratio), kept)
        whole = found["run_seconds"]
        ratio = null["run_seconds"] / whole if null else None
        yield Line(host, "the run with it", f"{whole:.3f} s", _shown(host, ratio))


def _latency(part: Mapping[str, Any]) -> Iterator[Line]:
    for host, found in part.items():
        for key, what in (
            ("echo_p50", "echo run p50"),
            ("first_delta_p50", "first delta p50"),
        ):
            kept = _at_most(host, found[key], LATENCY_LIMIT_SECONDS)
            yield Line(host, what, f"{found[key] * 1000:.1f} ms", None, kept)


def _idle(part: Mapping[str, Any]) -> Iterator[Line]:
    for host, found in part.items():
        idle = found["idle_pss_bytes"]
        kept = _at_most(host, idle, IDLE_LIMIT_BYTES)
        yield Line(host, "idle memory", f"{idle / 10**6:.0f} MB", None, kept)


def _memory(part: Mapping[str, Any]) -> Iterator[Line]:
    for host, found in part.items():
        rest, one = found["rest_pss_bytes"], found["bytes_per_waiting_run"]
        yield Line(host, "at rest after the load", f"{rest / 10**6:.0f} MB")
        kept = _at_most(host, one, WAITING_LIMIT_BYTES)
        yield Line(host, "per waiting run", f"{one / 1024:.1f} KiB", None, kept)


def _history(part: Mapping[str, Any]) -> Iterator[Line]:
    for host, found in part.items():
        for page in found["pages"]:
            what = f"history page at {page['size']:,}"
            yield Line(host, what, f"{page['newest'] * 1000:.1f} ms")
        kept = _at_most(host, found["growth"], HISTORY_GROWTH_LIMIT)
        yield Line(host, "history page growth", f"{found['growth']:.2f}x", None, kept)


def _host_calls(part: Mapping[str, Any]) -> Iterator[Line]:
    for host, found in part.items():
        for times in found["calls"]:
            for call, limit in CALL_LIMITS_SECONDS.items():
                what = f"{call} p50 at {times['size']:,}"
                kept = _at_most(host, times[call], limit)
                yield Line(host, what, f"{times[call] * 1000:.2f} ms", None, kept)
        growth = found["search_growth"]
        kept = _at_most(host, growth, SEARCH_GROWTH_LIMIT)
        yield Line(host, "history_search growth", f"{growth:.2f}x", None, kept)


def _shown(host: str, ratio: float | None) -> float | None:
    return None if host == NULL else ratio


def _at_least(host: str, value: float | None, limit: float | None) -> bool | None:
    if host == NULL or value is None or limit is None:
        return None
    return value >= limit


def _at_most(host: str, value: float, limit: float | None) -> bool | None:
    if host == NULL or limit is None:
        return None
    return value <= limit
