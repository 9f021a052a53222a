"""Lists in which one broken row does not hide the others (AG-113).

A row is broken when what it holds cannot be read: a secret whose key is lost, a
document of another shape than ours. It is logged, told by `row_left_out` and left out;
its number stays. Whatever else goes wrong is a mistake of ours: hidden it would look
like an empty list.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.dispatch import Signal

Row = TypeVar("Row", bound=Model)
Shown = TypeVar("Shown")

# What a column that cannot be decoded raises, an unreadable secret among them; a
# database that is away is no broken row.
UNREADABLE = ValueError
# What documents of another shape raise where they are shown.
_MISSHAPEN = (AttributeError, LookupError, TypeError, ValueError)
_JSON = (dict, list, str, int, float, bool, type(None))

row_left_out = Signal()
"""Sent with `model` (its label) and `key` for each row that a list leaves out."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Page(Generic[Row]):
    """What of some rows can be read; `keys` are those of all, in order."""

    rows: list[Row] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)


def read_page(rows: QuerySet[Row]) -> Page[Row]:
    """Read rows, one by one only when they cannot be read together."""
    try:
        found = list(rows)
    except UNREADABLE:
        keys = list(_plain(rows).values_list("pk", flat=True))
        return Page(_each(rows, keys), keys)
    return Page(found, [row.pk for row in found])


def shown(row: Model, show: Callable[[], Shown]) -> Shown | None:
    """Return what `show` makes of a row, which is not None; None for a broken row.

    Raises what is no fault of the row, as far as that can be told: a misspelt
    attribute of one of our objects is none of a document.
    """
    try:
        return show()
    except _MISSHAPEN as error:
        if isinstance(error, AttributeError) and not isinstance(error.obj, _JSON):
            raise
        _leave_out(row._meta.label, row.pk)
        return None


def _leave_out(model: str, key: Any) -> None:
    _log.exception("A row is left out of a list: %s %s", model, key)
    row_left_out.send_robust(sender=None, model=model, key=key)


def _plain(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.select_related(None).prefetch_related(None)


def _each(rows: QuerySet[Row], keys: list[Any]) -> list[Row]:
    found = []
    for key in keys:
        one = rows.all()
        one.query.clear_limits()  # the slice has chosen the keys
        try:
            found += list(one.filter(pk=key))
        except UNREADABLE:
            _leave_out(rows.model._meta.label, key)
    return found


__all__ = ["UNREADABLE", "Page", "read_page", "row_left_out", "shown"]
