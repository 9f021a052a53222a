"""The first page's chart of what model calls cost, for who may see money."""

from itertools import pairwise
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, Sum, Value, When
from django.utils.translation import gettext as _

from agents.choices import CostSource
from agents.models import UsageRecord
from langbot.core.permissions import COST
from langbot.lib.ids import smallest_uuid7
from langbot.lib.money import dollars
from runners.admin.overview_charts import HEIGHT, Chart, bar_at, part_name, ticks_of
from runners.admin.overview_numbers import Numbers, Part, recent


def cost_charts(user: Any, numbers: Numbers) -> list[Chart]:
    """Return the chart; none for who may not see money, or without model calls."""
    if not (user.has_perm(COST) and user.has_perm("langbot_agents.view_usagerecord")):
        return []
    edges = [part.begins for part in numbers.parts]
    found = _sums(user, edges)
    return [_chart(numbers, found)] if found else []


def _sums(user: Any, edges: list[Any]) -> dict[int, tuple[int, int]]:
    """Return {part: (microdollars, calls without a cost)}; one query."""
    part = Case(
        *(
            When(public_id__lt=smallest_uuid7(end.timestamp()), then=Value(number))
            for number, (_begin, end) in enumerate(pairwise(edges))
        ),
        default=Value(len(edges) - 1),
        output_field=IntegerField(),
    )
    missing = Q(cost_source=CostSource.MISSING)
    rows = recent(user, UsageRecord, edges[0]).annotate(part=part).order_by()
    sums = rows.values_list("part").annotate(
        cost=Sum("cost_microdollars"), unknown=Count("pk", filter=missing)
    )
    return {number: (cost or 0, unknown) for number, cost, unknown in sums}


def _chart(numbers: Numbers, found: dict[int, tuple[int, int]]) -> Chart:
    costs = [found.get(number, (0, 0)) for number in range(len(numbers.parts))]
    most = max(cost for cost, _unknown in costs)
    unknown = sum(one for _cost, one in costs)
    total = dollars(sum(cost for cost, _unknown in costs))
    summary = _("%(total)s in all; %(unknown)d calls of unknown cost.")
    return Chart(
        name="costs",
        title=_("Cost of model calls"),
        summary=summary % {"total": total, "unknown": unknown},
        top=dollars(most),
        bars=[
            bar_at(
                (number, len(costs)),
                HEIGHT,
                HEIGHT * cost / most,
                "busy",
                f"{part_name(part, numbers.window)}: {dollars(cost)}",
            )
            for number, (part, (cost, _unknown)) in enumerate(_parts(numbers, costs))
            if cost
        ],
        ticks=ticks_of(numbers),
        heads=[_("From"), _("cost"), _("unknown cost")],
        rows=[
            [part_name(part, numbers.window), dollars(cost), str(one)]
            for part, (cost, one) in _parts(numbers, costs)
        ],
        legend=[("busy", _("cost"))],
    )


def _parts(
    numbers: Numbers, costs: list[tuple[int, int]]
) -> list[tuple[Part, tuple[int, int]]]:
    return list(zip(numbers.parts, costs, strict=True))


__all__ = ["cost_charts"]
