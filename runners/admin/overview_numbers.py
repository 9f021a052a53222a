"""What the first page counts: windows that an index bounds, never whole tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    F,
    IntegerField,
    Model,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Mod
from django.utils.translation import gettext_lazy as _

from langbot.core.access import visible_rows
from langbot.lib.ids import smallest_uuid7
from runners.choices import TERMINAL, RunStatus
from runners.models import AgentRun

MOST_ROWS = 20_000  # looked at; a busier window shows the latest of these
SAMPLE = 1_500  # runs whose times are read, spread evenly over the window
BAD = frozenset({RunStatus.FAILED, RunStatus.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, in equal parts."""

    name: str
    label: Any
    length: timedelta
    parts: int

    def edges(self, now: datetime) -> list[datetime]:
        """Return where each part begins, and the end."""
        step = self.length / self.parts
        return [now - self.length + step * number for number in range(self.parts + 1)]


HOUR = Window("hour", _("1 hour"), timedelta(hours=1), 12)
DAY = Window("day", _("24 hours"), timedelta(days=1), 24)
WEEK = Window("week", _("7 days"), timedelta(days=7), 28)
WINDOWS = {window.name: window for window in (HOUR, DAY, WEEK)}


@dataclass(slots=True)
class Part:
    """What ended well, ended badly or goes on, of the runs that began in a part."""

    begins: datetime
    ends: datetime
    good: int = 0
    bad: int = 0
    other: int = 0
    typical: float | None = None  # seconds from the message to the end
    slow: float | None = None  # 95 of 100 are faster

    @property
    def total(self) -> int:
        return self.good + self.bad + self.other


@dataclass(frozen=True, slots=True)
class Numbers:
    """Runs of a window. `is_partial`: there are more than were looked at."""

    window: Window
    parts: list[Part]
    statuses: dict[str, int]
    is_partial: bool

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


def recent(user: Any, model: type[Model], moment: datetime) -> QuerySet[Any]:
    """Return the latest rows that the person may see and that are younger.

    The first of them is found by its public id, which begins with its time; from
    there on the key bounds every list, also that of one workspace.
    """
    rows = model._default_manager.all()
    mine = visible_rows(user, rows.filter(since(model, moment)))
    return rows.filter(pk__in=mine.order_by("-pk").values("pk")[:MOST_ROWS])


def since(model: type[Model], moment: datetime) -> Q:
    """Select what was made since a moment, as a range of keys."""
    first = smallest_uuid7(moment.timestamp())
    rows = model._default_manager.filter(public_id__gte=first)
    return Q(pk__gte=Subquery(rows.order_by("public_id").values("pk")[:1]))


def numbers_of(user: Any, window: Window) -> Numbers:
    """Count the runs of a window by time and status; two queries."""
    edges = window.edges(datetime.now(UTC))
    runs = recent(user, AgentRun, edges[0]).annotate(part=_part_of(edges)).order_by()
    counted = list(runs.values_list("part", "status").annotate(Count("pk")))
    parts = [Part(*pair) for pair in pairwise(edges)]
    statuses: dict[str, int] = {}
    for number, status, count in counted:
        statuses[status] = statuses.get(status, 0) + count
        _add(parts[number], status, count)
    total = sum(statuses.values())
    for number, seconds in _durations(runs, total).items():
        parts[number].typical = median(seconds)
        parts[number].slow = _slow(seconds)
    return Numbers(window, parts, statuses, total >= MOST_ROWS)


def _part_of(edges: list[datetime]) -> Case:
    """Return the number of a run's part; ids compare faster than times are cut."""
    return Case(
        *(
            When(public_id__lt=smallest_uuid7(edge.timestamp()), then=Value(number))
            for number, edge in enumerate(edges[1:-1])
        ),
        default=Value(len(edges) - 2),
        output_field=IntegerField(),
    )


def _add(part: Part, status: str, count: int) -> None:
    if status == RunStatus.COMPLETED:
        part.good += count
    elif status in BAD:
        part.bad += count
    else:
        part.other += count


def _durations(runs: QuerySet[Any], total: int) -> dict[int, list[float]]:
    """Return the seconds that ended runs took, by part; a sample of large windows."""
    ended = runs.filter(status__in=TERMINAL, started_at__isnull=False)
    if total > SAMPLE:
        ended = ended.annotate(turn=Mod("pk", Value(total // SAMPLE + 1)))
        ended = ended.filter(turn=0)
    times: dict[int, list[float]] = {}
    for number, begun, finished in _times(ended):
        times.setdefault(number, []).append((finished - begun).total_seconds())
    return times


def _times(ended: QuerySet[Any]) -> Iterator[tuple[int, datetime, datetime]]:
    begun = Case(
        When(queued_at__isnull=False, then=F("queued_at")),
        default=F("created_at"),
        output_field=DateTimeField(),
    )
    yield from ended.values_list("part", begun, "finished_at")


def _slow(seconds: list[float]) -> float:
    several = len(seconds) > 1
    return quantiles(seconds, n=20, method="inclusive")[-1] if several else seconds[0]
