"""Lists narrowed by time, as ranges of keys.

Keys grow with time, so that a range of them goes with the index of any other filter.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from langbot.lib.admin import DropdownFilter
from langbot.lib.ids import smallest_uuid7

Row = TypeVar("Row", bound=Model)

_MARGIN = timedelta(minutes=1)  # longer than a row waits between its id and its key
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_PERIODS: dict[str, tuple[timedelta, Any]] = {
    "hour": (timedelta(hours=1), _("Last hour")),
    "day": (timedelta(days=1), _("Last 24 hours")),
    "week": (timedelta(days=7), _("Last 7 days")),
    "month": (timedelta(days=30), _("Last 30 days")),
}


class PeriodFilter(DropdownFilter):
    """Rows made since a time."""

    title = _("period")
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(name, text) for name, (_span, text) in _PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        period = _PERIODS.get(self.value() or "")
        if period is None:
            return queryset
        first = first_key_since(queryset.model, datetime.now(UTC) - period[0])
        return queryset.none() if first is None else queryset.filter(pk__gte=first)


def first_key_since(model: type[Model], moment: datetime) -> int | None:
    """Return the key of the first row made since then; None when there is none.

    Public ids are UUIDv7: the smallest one of a moment finds the row by their index.
    """
    smallest = smallest_uuid7(moment.timestamp())
    rows = model._default_manager.filter(public_id__gte=smallest)
    keys = rows.order_by("public_id").values_list("pk", flat=True)
    found: int | None = keys.first()
    return found


def within(
    rows: QuerySet[Row], after: datetime | None, before: datetime | None
) -> QuerySet[Row]:
    """Narrow rows to the keys around a time; the times themselves have no index.

    Filter by `created_at` too: a key may be some seconds older than its row's time.
    """
    if after is not None:
        first = first_key_since(rows.model, _sane(after) - _MARGIN)
        rows = rows.none() if first is None else rows.filter(pk__gte=first)
    if before is not None:
        end = first_key_since(rows.model, _sane(before) + _MARGIN)
        rows = rows if end is None else rows.filter(pk__lt=end)
    return rows


def _sane(moment: datetime) -> datetime:
    """Return a moment that ids can spell: people ask for the year 1 and for 9999."""
    return min(max(moment, _EARLIEST), _LATEST)


__all__ = ["PeriodFilter", "first_key_since", "within"]
