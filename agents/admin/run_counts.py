"""How many runs the agents of a page have, however many that are (AG-111)."""

from collections.abc import Collection, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Func, IntegerField, OuterRef, Subquery
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from langbot.lib.counts import capped
from runners.models import AgentRun

MOST = 1_000  # counted of each agent: about 0.1 ms by the index of its runs


class _CountOf(Func):
    """How many rows a subquery has."""

    template = "(SELECT COUNT(*) FROM %(expressions)s counted)"
    output_field = IntegerField()
    arity = 1


def run_counts(agents: Collection[int]) -> dict[int, int]:
    """Return how many runs each agent has, at most one more than `MOST`.

    One query, whatever the number of agents; none for no agents.
    """
    if not agents:
        return {}
    # In the order of the index, or PostgreSQL would look into a thousand rows of each.
    runs = AgentRun.objects.filter(agent=OuterRef("pk")).order_by("-pk")
    some = Subquery(runs.values("pk")[: MOST + 1])
    counted = Agent.objects.filter(pk__in=agents).order_by()
    return dict(counted.values_list("pk", _CountOf(some)))


class RunCounts:
    """A list of agents that says how many runs each has."""

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        counts = run_counts([row.pk for row in rows])
        for row in rows:
            row.run_count = counts.get(row.pk, 0)

    @admin.display(description=_("runs (up to 1000)"))
    def runs(self, agent: Any) -> str:
        return capped(agent.run_count, MOST)


__all__ = ["MOST", "RunCounts", "run_counts"]
