"""Counts runs as they end, without ever counting the table of runs.

Each look reads the runs that are new since the last one and those that were still
open then. Numbers of transactions that commit late leave gaps, which stay open for a
minute. A process starts counting when it is first asked: Prometheus knows resets.
"""

import time
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from runners.choices import LIVE, TERMINAL
from runners.models import AgentRun

PAGE = 5000  # runs of one question
GAP_SECONDS = 60.0
BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
_READ = ("pk", "status", "created_at", "finished_at")


class RunsSeen:
    """What ended since the first look. Not thread-safe."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._open: set[int] = set()
        self._gaps: dict[int, float] = {}  # missing numbers, and when they were missed
        self._ended = dict.fromkeys(map(str, TERMINAL), 0)
        self._durations = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def look(self) -> Iterable[Metric]:
        """Read what happened since the last look; returns the totals."""
        if self._newest is None:
            self._begin()
        else:
            self._read_new(self._newest)
            self._read_known([*self._open, *self._gaps])
            self._forget_gaps()
        return self._metrics()

    def _begin(self) -> None:
        newest = AgentRun.objects.order_by("-pk").values_list("pk", flat=True).first()
        self._newest = newest or 0
        runs = AgentRun.objects.order_by().values_list("pk", flat=True)
        for status in LIVE:  # SQLite uses no partial index for several
            self._open.update(runs.filter(status=status))

    def _read_new(self, newest: int) -> None:
        while True:
            rows = AgentRun.objects.filter(pk__gt=newest).order_by("pk")
            page = self._take(rows[:PAGE])
            for pk in page:
                missed = range(newest + 1, pk)[-PAGE:]
                self._gaps.update(dict.fromkeys(missed, time.monotonic()))
                newest = pk
            self._newest = newest
            if len(page) < PAGE:
                return

    def _read_known(self, keys: list[int]) -> None:
        for start in range(0, len(keys), PAGE):
            self._take(AgentRun.objects.filter(pk__in=keys[start : start + PAGE]))

    def _take(self, rows: QuerySet[AgentRun]) -> list[int]:
        """Note where these runs are; returns their keys."""
        found: list[Any] = list(rows.values_list(*_READ))
        for pk, status, created_at, finished_at in found:
            self._gaps.pop(pk, None)
            if status in LIVE:
                self._open.add(pk)
                continue
            self._open.discard(pk)
            self._count(status, (finished_at - created_at).total_seconds())
        return [row[0] for row in found]

    def _count(self, status: str, seconds: float) -> None:
        self._ended[status] += 1
        self._sum += seconds
        within = (number for number, edge in enumerate(BUCKETS) if seconds <= edge)
        self._durations[next(within, len(BUCKETS))] += 1

    def _forget_gaps(self) -> None:
        edge = time.monotonic() - GAP_SECONDS
        self._gaps = {pk: at for pk, at in self._gaps.items() if at > edge}

    def _metrics(self) -> list[Metric]:
        ended = CounterMetricFamily(
            "langbot_runs_ended",
            "Runs that ended since this process was first scraped.",
            labels=["status"],
        )
        for status, number in self._ended.items():
            ended.add_metric([status], number)
        durations = HistogramMetricFamily(
            "langbot_run_duration_seconds",
            "From the acceptance of a run to its end, waiting included.",
        )
        durations.add_metric([], self._buckets(), self._sum)
        return [ended, durations]

    def _buckets(self) -> list[tuple[str, float]]:
        total, buckets = 0, []
        for edge, number in zip(
            [*map(str, BUCKETS), "+Inf"], self._durations, strict=True
        ):
            total += number
            buckets.append((edge, float(total)))
        return buckets
