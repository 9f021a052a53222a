"""Cursor pages `{"next", "previous", "results"}` over any ordering.

A cursor names a row by value, so pages stay right while rows come and go, and cost
the same at any depth. Both links are absolute addresses.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from langbot.lib.rows import read_page
from langbot.lib.text import storable
from langbot.problems import invalid

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 50  # LB-73
MAXIMUM_LIMIT = 200  # contract, lists
LEFT_OUT = "X-Left-Out"
_MAXIMUM_VALUE = 2**63 - 1
_LINK = {"type": ["string", "null"], "format": "uri"}


@dataclass(frozen=True, slots=True)
class Order:
    """One direction of one field; `fields` end with one that is unique."""

    name: str
    fields: tuple[str, ...]
    descending: bool

    @classmethod
    def of(cls, field: str, name: str = "") -> Self:
        """Read `-pk`; ties of a field that `name` names are broken by the key."""
        plain = field.lstrip("-")
        fields = (plain, "pk") if name and plain != "pk" else (plain,)
        return cls(name, fields, field.startswith("-"))

    def reversed(self) -> "Order":
        """Return the opposite direction."""
        return Order(self.name, self.fields, not self.descending)

    def apply(
        self, queryset: QuerySet[Row], position: list[Any] | None
    ) -> QuerySet[Row]:
        """Order the rows; with a position, only those that follow it."""
        if position is not None:
            queryset = queryset.filter(self._after(position))
        sign = "-" if self.descending else ""
        return queryset.order_by(*(sign + field for field in self.fields))

    def _after(self, position: list[Any]) -> Q:
        comparison = "lt" if self.descending else "gt"
        after, same = Q(), Q()
        for field, value in zip(self.fields, position, strict=True):
            after |= same & Q(**{f"{field}__{comparison}": value})
            same &= Q(**{field: value})
        return after

    def position_of(self, row: Any) -> list[Any]:
        """Return what a cursor keeps of a row."""
        return [getattr(row, field) for field in self.fields]

    def read_position(self, model: type[Model], values: Any) -> list[Any]:
        """Return the values as their fields hold them; raises ValidationError."""
        if not isinstance(values, list) or len(values) != len(self.fields):
            raise ValidationError("")
        return [
            _read_value(model, field, value)
            for field, value in zip(self.fields, values, strict=True)
        ]


class CursorPage(BasePagination):
    """Pages by the view's `page_order`, an integer field; `-` for newest first.

    A view's `orderings` names what `?ordering=` takes: `{"name": "name"}` allows
    `name` and `-name`. Fields that may be null cannot be ordered by.
    """

    page_order = "-pk"

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any]:
        """Return one page; raises a 400 for a wrong limit, ordering or cursor."""
        self._url = request.build_absolute_uri()
        self._order = _read_order(request, view, self.page_order)
        limit = read_limit(request)
        backwards, position = _read_cursor(request, queryset.model, self._order)
        self._is_backwards = backwards
        order = self._order.reversed() if backwards else self._order
        found = order.apply(queryset, position)[: limit + 1]
        rows, ends, more = self._read(found, limit)
        if backwards:
            rows.reverse()
            ends.reverse()
        self._places = len(ends)
        self._next = self._link("n", ends[-1:]) if more or backwards else None
        came_from = position is not None and not backwards
        has_previous = came_from or (backwards and more)
        self._previous = self._link("p", ends[:1]) if has_previous else None
        return rows

    def _read(
        self, found: QuerySet[Any], limit: int
    ) -> tuple[list[Any], list[Any], bool]:
        """Return a page's rows, those whose places bound it, and whether more follow.

        A row that cannot be read has no content, but it has its place.
        """
        page = read_page(found)
        more, keys = len(page.keys) > limit, set(page.keys[:limit])
        rows = [row for row in page.rows if row.pk in keys]
        if len(rows) == len(keys):
            return rows, list(rows), more
        plain = found.select_related(None).prefetch_related(None)
        return rows, list(plain.only(*self._order.fields))[:limit], more

    def _link(self, direction: str, rows: list[Any]) -> str | None:
        if not rows:
            return None
        content = [direction, self._order.name, *self._order.position_of(rows[0])]
        # str keeps microseconds, which Django's encoder would cut
        plain = json.dumps(content, default=str, separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
        return replace_query_param(self._url, "cursor", cursor)

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page; a header counts the rows of it that cannot be shown."""
        body = {"next": self._next, "previous": self._previous, "results": data}
        left_out = self._places - len(data)
        return Response(
            body, headers={LEFT_OUT: str(left_out)} if left_out > 0 else None
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": _LINK, "previous": _LINK, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAXIMUM_LIMIT}
        parameters = [
            _parameter("cursor", {"type": "string"}, "From `next` or `previous`."),
            _parameter("limit", limit, "Rows of a page, 50 without it."),
        ]
        names = [sign + name for name in orderings_of(view) for sign in ("", "-")]
        if names:
            choice = {"type": "string", "enum": names}
            parameters.append(_parameter("ordering", choice, "`-` turns it round."))
        return parameters


def orderings_of(view: Any) -> Mapping[str, str]:
    """Return what `?ordering=` takes; only a view's main list has any."""
    if getattr(view, "action", "list") != "list":
        return {}
    found: Mapping[str, str] = getattr(view, "orderings", {})
    return found


def read_limit(request: Request) -> int:
    """Return `?limit=`; raises a 400 outside 1..200."""
    given = request.query_params.get("limit")
    if given is None:
        return DEFAULT_LIMIT
    number = read_integer(given)
    if number is None or not 1 <= number <= MAXIMUM_LIMIT:
        message = _("Enter a number from 1 to %(maximum)d.")
        raise invalid({"limit": [message % {"maximum": MAXIMUM_LIMIT}]})
    return number


def read_integer(text: str) -> int | None:
    """Return a whole number that the database holds, or None."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_MAXIMUM_VALUE)):
        return None
    number = int(text)
    return number if number <= _MAXIMUM_VALUE else None


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _read_order(request: Request, view: Any, default: str) -> Order:
    given = request.query_params.get("ordering")
    known = orderings_of(view)
    if given is None or not known:
        return Order.of(getattr(view, "page_order", default))
    name = given.removeprefix("-")
    if name not in known:
        message = _("Choose one of: %(names)s.") % {"names": ", ".join(known)}
        raise invalid({"ordering": [message]})
    sign = "-" if given.startswith("-") else ""
    return Order.of(sign + known[name], given)


def _read_cursor(
    request: Request, model: type[Model], order: Order
) -> tuple[bool, list[Any] | None]:
    given = request.query_params.get("cursor")
    if given is None:
        return False, None
    try:
        padded = given.encode("ascii") + b"=" * (-len(given) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        direction, name, *values = content
        if direction not in {"n", "p"} or name != order.name:
            raise ValidationError("")
        return direction == "p", order.read_position(model, values)
    except (binascii.Error, ValueError, TypeError, RecursionError, ValidationError):
        raise invalid({"cursor": [_("This is no cursor of this list.")]}) from None


def _read_value(model: type[Model], name: str, value: Any) -> Any:
    """Return a cursor's value as the field holds it; cursors may be forged."""
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    found = field.to_python(value)
    too_large = isinstance(found, int) and abs(found) > _MAXIMUM_VALUE
    if found is None or too_large or storable(found) != found:
        raise ValidationError("")
    return found
