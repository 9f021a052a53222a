"""Totals of model calls: what they used and cost in a period, grouped."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from agents.choices import CostSource
from agents.resources.usage import UsageRecord

GROUPS_AT_MOST: Final = 500
_SUMS: Final = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    "cost_microdollars",
)
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "day": ("day",),
    "agent": ("agent__slug",),
    "model": ("provider_name", "model_name"),
    "user": ("person",),
}
GROUPINGS: Final = tuple(_KEYS)


def totals_of(rows: QuerySet[UsageRecord]) -> dict[str, Any]:
    """Return the sums of some records; a cost is None where none is known.

    `calls_without_cost` counts the calls that the cost lacks.
    """
    return _document(rows.order_by().aggregate(**_sums()))


def grouped(rows: QuerySet[UsageRecord], by: str) -> list[dict[str, Any]]:
    """Return the sums by day, agent, model or user, at most 500 groups.

    Days in their order, the others by falling cost. `key` names the group: a date, an
    agent's slug (None for a deleted one), provider and model, or a person.
    """
    names = _KEYS[by]
    day = TruncDate("created_at", tzinfo=UTC)
    rows = rows.order_by()
    counted = (rows.annotate(day=day) if by == "day" else rows).values(*names)
    dearest = F("cost_microdollars").desc(nulls_last=True)
    order = names if by == "day" else (dearest, *names)
    found = counted.annotate(**_sums()).order_by(*order)[:GROUPS_AT_MOST]
    return [{"key": _key(names, one), **_document(one)} for one in found]


def records_between(
    workspace_id: int, since: datetime, until: datetime
) -> QuerySet[UsageRecord]:
    """Return the records of a period of one workspace."""
    return UsageRecord.objects.filter(
        workspace_id=workspace_id, created_at__gte=since, created_at__lt=until
    )


def _sums() -> dict[str, Any]:
    missing = Q(cost_source=CostSource.MISSING)
    return {
        **{name: Sum(name) for name in _SUMS},
        "calls": Count("pk"),
        "calls_without_cost": Count("pk", filter=missing),
    }


def _document(sums: Mapping[str, Any]) -> dict[str, Any]:
    tokens = {name: sums[name] or 0 for name in _SUMS if name.endswith("_tokens")}
    return {
        "calls": sums["calls"],
        **tokens,
        "cost_microdollars": sums["cost_microdollars"],
        "calls_without_cost": sums["calls_without_cost"],
    }


def _key(names: tuple[str, ...], one: Mapping[str, Any]) -> str | None:
    values = [one[name] for name in names]
    if len(values) > 1:
        return "/".join(map(str, values))
    return None if values[0] is None else str(values[0])


__all__ = ["GROUPINGS", "grouped", "records_between", "totals_of"]
