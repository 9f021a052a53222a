"""Counts model calls, tokens and cost as they are recorded, never the whole table."""

import time
from collections.abc import Iterable
from typing import Final

from django.db.models import QuerySet
from prometheus_client.core import CounterMetricFamily, Metric

from agents.models import UsageRecord

PAGE: Final = 5000  # records of one question
GAP_SECONDS: Final = 60.0  # transactions commit out of order
_READ: Final = ("pk", "cost_source", "cost_microdollars", "prompt_tokens")


class UsageSeen:
    """What was recorded since the first look. Not thread-safe."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._gaps: dict[int, float] = {}  # missing keys, and when they were missed
        self._calls: dict[str, int] = {}
        self._cost = 0
        self._tokens = {"input": 0, "output": 0}

    def look(self) -> Iterable[Metric]:
        """Read what is new since the last look; returns the totals."""
        if self._newest is None:
            keys = UsageRecord.objects.order_by("-pk").values_list("pk", flat=True)
            self._newest = keys.first() or 0
        else:
            self._take(UsageRecord.objects.filter(pk__in=list(self._gaps)[:PAGE]))
            self._read_new()
        edge = time.monotonic() - GAP_SECONDS
        self._gaps = {key: at for key, at in self._gaps.items() if at > edge}
        return self._metrics()

    def _read_new(self) -> None:
        while True:
            newest = self._newest or 0
            rows = UsageRecord.objects.filter(pk__gt=newest).order_by("pk")[:PAGE]
            keys = self._take(rows)
            for key in keys:
                missed = range(newest + 1, key)[-PAGE:]
                self._gaps.update(dict.fromkeys(missed, time.monotonic()))
                newest = key
            self._newest = newest
            if len(keys) < PAGE:
                return

    def _take(self, rows: QuerySet[UsageRecord]) -> list[int]:
        """Count these records; returns their keys."""
        keys = []
        for key, source, cost, prompt, completion in rows.values_list(
            *_READ, "completion_tokens"
        ):
            keys.append(key)
            self._gaps.pop(key, None)
            self._calls[source] = self._calls.get(source, 0) + 1
            self._cost += cost or 0
            self._tokens["input"] += prompt or 0
            self._tokens["output"] += completion or 0
        return keys

    def _metrics(self) -> list[Metric]:
        calls = CounterMetricFamily(
            "langbot_model_calls",
            "Model calls recorded since this process was first scraped, by who "
            "says their cost; `missing` is unknown.",
            labels=["cost_source"],
        )
        for source, number in self._calls.items():
            calls.add_metric([source], number)
        tokens = CounterMetricFamily(
            "langbot_model_tokens", "Tokens of those calls.", labels=["direction"]
        )
        for direction, number in self._tokens.items():
            tokens.add_metric([direction], number)
        what = "Known cost of those calls in microdollars."
        cost = CounterMetricFamily(
            "langbot_model_cost_microdollars", what, value=self._cost
        )
        return [calls, tokens, cost]


__all__ = ["UsageSeen"]
