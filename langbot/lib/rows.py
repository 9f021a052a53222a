"""Lists in which one broken row does not hide the others (AG-113).

A row is broken when what it holds cannot be read: a secret whose key is lost, a
document of another shape than ours. It is logged and left out; its number stays.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)
Shown = TypeVar("Shown")

# What reading bad content raises, an unreadable secret among them; a database that is
# away is no broken row.
BROKEN: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    LookupError,
    ObjectDoesNotExist,
    TypeError,
    ValueError,
)
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
    except BROKEN:
        keys = list(_plain(rows).values_list("pk", flat=True))
        return Page(_each(rows, keys), keys)
    return Page(found, [row.pk for row in found])


def shown(row: Model, show: Callable[[], Shown]) -> Shown | None:
    """Return what `show` makes of a row, which is not None; None for a broken row."""
    try:
        return show()
    except BROKEN:
        _log.exception("A row is left out of a list: %s %s", row._meta.label, row.pk)
        return None


def _plain(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.select_related(None).prefetch_related(None)


def _each(rows: QuerySet[Row], keys: list[Any]) -> list[Row]:
    found = []
    for key in keys:
        one = rows.all()
        one.query.clear_limits()  # the slice has chosen the keys
        try:
            found += list(one.filter(pk=key))
        except BROKEN:
            _log.exception("A row cannot be read: %s %s", rows.model._meta.label, key)
    return found


__all__ = ["BROKEN", "Page", "read_page", "shown"]
