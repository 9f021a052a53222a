"""The admin's first page: what happens, what is missing, what went wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from langbot.lib import admin as look
from runners.admin.display import RUN_TONES
from runners.admin.overview_attention import Item, items_for
from runners.admin.overview_charts import Chart, runs_chart, times_chart
from runners.admin.overview_costs import cost_charts
from runners.admin.overview_facts import Facts, facts_for
from runners.admin.overview_numbers import (
    DAY,
    HOUR,
    WEEK,
    WINDOWS,
    Numbers,
    numbers_of,
)
from runners.admin.overview_setup import Step, steps_for
from runners.choices import RunStatus

_TITLES: dict[str, Any] = {
    HOUR.name: gettext_lazy("Runs in the last hour"),
    DAY.name: gettext_lazy("Runs in the last 24 hours"),
    WEEK.name: gettext_lazy("Runs in the last 7 days"),
}


@dataclass(slots=True)
class Tile:
    """One number with its link; `parts` are (text, tone) badges."""

    title: str
    number: str
    url: str
    is_alert: bool = False
    parts: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows; empty lists are what the person may not see."""

    tiles: list[Tile]
    steps: list[Step]
    items: list[Item]
    charts: list[Chart]
    windows: list[tuple[str, str, bool]]
    is_partial: bool
    is_themed: bool = look.THEMED  # without the theme there is no sidebar of ours

    @property
    def is_set_up(self) -> bool:
        """Whether nothing of the checklist is left."""
        return all(step.is_done for step in self.steps)

    @property
    def steps_done(self) -> int:
        return sum(step.is_done for step in self.steps)


def charts_for(user: Any, numbers: Numbers) -> list[Chart]:
    """Return the charts of a window; what calls cost only to who may see money."""
    own = [runs_chart(numbers), times_chart(numbers)]
    return own + cost_charts(user, numbers)


def overview_of(request: HttpRequest) -> Overview:
    """Return the page for a person; `?window=` chooses hour, day or week."""
    user: Any = request.user
    window = WINDOWS.get(request.GET.get("window", ""), DAY)
    sees_runs = user.has_perm("langbot_runners.view_agentrun")
    numbers = numbers_of(user, window) if sees_runs else None
    facts = facts_for(user)
    return Overview(
        tiles=tiles_for(facts, numbers),
        steps=steps_for(facts),
        items=items_for(facts, numbers),
        charts=charts_for(user, numbers) if numbers else [],
        windows=[(one.name, str(one.label), one == window) for one in WINDOWS.values()],
        is_partial=numbers is not None and numbers.is_partial,
    )


def tiles_for(facts: Facts, numbers: Numbers | None) -> list[Tile]:
    """Return the tiles that the person may see."""
    tiles = {
        "langbot_agents.view_runnerdescriptor": _runners,
        "langbot_runners.view_workernode": _workers,
    }
    may = facts.user.has_perm
    first = [_runs(numbers)] if numbers is not None else []
    return [*first, *(make(facts) for name, make in tiles.items() if may(name))]


def _runs(numbers: Numbers) -> Tile:
    more = "+" if numbers.is_partial else ""
    parts = [
        (f"{RunStatus(status).label} {count}", RUN_TONES.get(status, "calm"))
        for status, count in _in_order(numbers.statuses)
    ]
    url = reverse("admin:langbot_runners_agentrun_changelist")
    title = str(_TITLES[numbers.window.name])
    return Tile(title, f"{numbers.total}{more}", url, parts=parts)


def _in_order(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return ((status, counts[status]) for status in RunStatus if status in counts)


def _runners(facts: Facts) -> Tile:
    count = len(facts.online)
    url = reverse("admin:langbot_agents_runnerdescriptor_changelist")
    return Tile(_("Runners online"), str(count), url, is_alert=count == 0)


def _workers(facts: Facts) -> Tile:
    count, shown = facts.count("workers")
    url = reverse("admin:langbot_runners_workernode_changelist")
    return Tile(_("Workers alive"), shown, url, is_alert=count == 0)
