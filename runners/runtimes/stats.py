"""Numbers of runs, runners and runtimes for the control plane."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import (
    Avg,
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
)

from agents.models import RunnerDescriptor
from langbot.lib.ids import smallest_uuid7
from runners.choices import LIVE, RunStatus
from runners.models import AgentRun, RemoteRuntime
from runners.runtimes.callers import Caller

HOUR = 3600
LONGEST_WINDOW = 31 * 24 * HOUR
MOST_RUNNERS = 100
_SAMPLE = 10_000  # latest ended runs that durations are taken from


@dataclass(frozen=True, slots=True)
class Window:
    """A time window in epoch seconds: the last hour by default, 31 days at most."""

    start: int
    end: int

    @classmethod
    def of(cls, start: int | None, end: int | None) -> "Window":
        """Return the window with what is missing filled in, and only its last days.

        A longer one would read the whole table, several times.
        """
        until = int(time.time()) + 1 if end is None else end
        begin = until - HOUR if start is None else start
        return cls(max(0, begin, until - LONGEST_WINDOW), until)


def run_stats(caller: Caller, window: Window, runner_id: str | None) -> dict[str, Any]:
    """Return counts, rates and durations of runs created in the window."""
    runs = _runs(caller, window)
    if runner_id is not None:
        runs = runs.filter(runner_id=runner_id)
    by_status = dict(runs.order_by().values_list("status").annotate(Count("pk")))
    claimed = runs.filter(is_claimed()).count()
    counts = {f"{one}_count": by_status.get(one, 0) for one in _COUNTED}
    ended = sum(by_status.get(one, 0) for one in _ENDED)
    hours = max(window.end - window.start, 1) / HOUR
    return {
        "start_time": window.start,
        "end_time": window.end,
        "total_count": sum(by_status.values()),
        **counts,
        "claimed_count": claimed,
        "running_count": counts["running_count"] - claimed,
        "throughput_per_hour": ended / hours,
        "success_rate": _share(by_status.get("completed", 0), ended),
        "failure_rate": _share(
            by_status.get("failed", 0) + by_status.get("timeout", 0), ended
        ),
        **_durations(runs),
    }


def runtime_stats(caller: Caller) -> dict[str, Any]:
    """Return how many runtimes there are, how they beat, and what they hold."""
    now = datetime.now(UTC)
    rows = caller.within(RemoteRuntime.objects.all())
    beats = list(rows.values_list("heartbeat_at", "heartbeat_deadline_at"))
    ages = [(now - beat).total_seconds() for beat, _ in beats]
    stale = sum(deadline < now for _, deadline in beats)
    held = caller.within(
        AgentRun.objects.running().filter(claim_lease_expires_at__isnull=False)
    )
    return {
        "total_count": len(beats),
        "online_count": len(beats) - stale,
        "stale_count": stale,
        "avg_heartbeat_age_seconds": sum(ages) / len(ages) if ages else None,
        "max_heartbeat_age_seconds": max(ages, default=None),
        "active_runs": held.count(),
        "claimed_runs": held.filter(is_claimed()).count(),
    }


def runner_stats(caller: Caller, window: Window, limit: int) -> dict[str, Any]:
    """Return the runners with the most runs created in the window."""
    limit = min(limit, MOST_RUNNERS)
    completed = Q(status=RunStatus.COMPLETED)
    took = ExpressionWrapper(
        F("finished_at") - F("started_at"), output_field=DurationField()
    )
    rows = (
        _runs(caller, window)
        .values("runner_id")
        .annotate(
            total=Count("pk"),
            active=Count("pk", filter=Q(status__in=LIVE)),
            completed=Count("pk", filter=completed),
            failed=Count("pk", filter=Q(status__in=_FAILED)),
            took=Avg(took, filter=completed),
        )
        .order_by("-total", "runner_id")
    )
    found = list(rows[:limit])
    total = rows.count()
    names = _names([row["runner_id"] for row in found])
    items = [_runner(dict(row), names) for row in found]
    return {"items": items, "total_count": total, "has_more": total > len(items)}


def is_claimed() -> Q:
    """Return the condition of a run that was claimed and has no result yet."""
    held = Q(status=RunStatus.RUNNING, claim_lease_expires_at__isnull=False)
    return held & Q(last_runner_sequence=0)


_ENDED = ("completed", "failed", "cancelled", "timeout")
_COUNTED = ("created", "queued", "running", *_ENDED)
_FAILED = (RunStatus.FAILED, RunStatus.TIMEOUT)


def _runs(caller: Caller, window: Window) -> QuerySet[AgentRun]:
    """Return the runs of a window, found by their ids, which begin with the time."""
    rows = caller.within(AgentRun.objects.all()).order_by()
    first, last = smallest_uuid7(window.start), smallest_uuid7(window.end)
    return rows.filter(public_id__gte=first, public_id__lt=last)


def _durations(runs: QuerySet[AgentRun]) -> dict[str, float | None]:
    ended = runs.filter(status=RunStatus.COMPLETED).order_by("-public_id")
    sample = list(ended.values_list("queued_at", "started_at", "finished_at")[:_SAMPLE])
    took = sorted(
        (end - start).total_seconds() for _, start, end in sample if start and end
    )
    waits = [(start - at).total_seconds() for at, start, _ in sample if start and at]
    return {
        "avg_duration_seconds": _mean(took),
        "p50_duration_seconds": _percentile(took, 50),
        "p95_duration_seconds": _percentile(took, 95),
        "p99_duration_seconds": _percentile(took, 99),
        # A run that was queued again was started before.
        "avg_queue_wait_seconds": _mean([max(wait, 0.0) for wait in waits]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the nearest rank of ordered values."""
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _names(runner_ids: list[str]) -> dict[str, RunnerDescriptor]:
    rows = RunnerDescriptor.objects.filter(runner_id__in=runner_ids)
    return {row.runner_id: row for row in rows}


def _runner(row: dict[str, Any], names: dict[str, RunnerDescriptor]) -> dict[str, Any]:
    descriptor = names.get(row["runner_id"])
    label = descriptor.label if descriptor is not None else {}
    took = row["took"]
    return {
        "runner_id": row["runner_id"],
        "runner_label": label.get("en_US") or next(iter(label.values()), None),
        "plugin_identity": descriptor.plugin if descriptor is not None else None,
        "total_runs": row["total"],
        "active_runs": row["active"],
        "completed_runs": row["completed"],
        "failed_runs": row["failed"],
        "success_rate": _share(row["completed"], row["completed"] + row["failed"]),
        "avg_duration_seconds": took.total_seconds() if took is not None else None,
    }
