"""Cursor pages `{"next", "previous", "results"}` over any ordering by one unique field.

A cursor names a row by value, so pages stay right while rows come and go, and cost
the same at any depth. Both links are absolute addresses.
"""

import base64
import binascii
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from langbot.problems import invalid

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 50  # LB-73
MAXIMUM_LIMIT = 200  # contract, lists
_MAXIMUM_VALUE = 2**63 - 1


class CursorPage(BasePagination):
    """Pages by the view's `page_order`, an integer field; `-` for newest first."""

    page_order = "-pk"

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any]:
        """Return one page; raises a 400 for a limit or cursor that is none."""
        self._url = request.build_absolute_uri()
        order = getattr(view, "page_order", self.page_order)
        self._field, self._descending = order.lstrip("-"), order.startswith("-")
        limit = read_limit(request)
        backwards, position = _read_cursor(request.query_params.get("cursor"))
        rows = list(self._ordered(queryset, position, backwards=backwards)[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit]
        if backwards:
            rows.reverse()
        self._next = self._link("n", rows[-1:]) if more or backwards else None
        came_from = position is not None and not backwards
        has_previous = came_from or (backwards and more)
        self._previous = self._link("p", rows[:1]) if has_previous else None
        return rows

    def _ordered(
        self, queryset: QuerySet[Row], position: int | None, *, backwards: bool
    ) -> QuerySet[Row]:
        descending = self._descending != backwards
        if position is not None:
            comparison = "lt" if descending else "gt"
            queryset = queryset.filter(**{f"{self._field}__{comparison}": position})
        return queryset.order_by(("-" if descending else "") + self._field)

    def _link(self, direction: str, rows: list[Any]) -> str | None:
        if not rows:
            return None
        plain = f"{direction}{getattr(rows[0], self._field)}".encode()
        cursor = base64.urlsafe_b64encode(plain).decode().rstrip("=")
        return replace_query_param(self._url, "cursor", cursor)

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {"next": self._next, "previous": self._previous, "results": data}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAXIMUM_LIMIT}
        return [
            {"name": "cursor", "in": "query", "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "schema": limit},
        ]


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


def _read_cursor(given: str | None) -> tuple[bool, int | None]:
    if given is None:
        return False, None
    try:
        padded = given.encode("ascii") + b"=" * (-len(given) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        plain = ""
    position = read_integer(plain[1:])
    if plain[:1] not in {"n", "p"} or position is None:
        raise invalid({"cursor": [_("This is no cursor of this list.")]})
    return plain[0] == "p", position
