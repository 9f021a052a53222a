"""Pages of a transcript for people: newest first, never cut where it confuses."""

import logging
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.pagination import CursorPage, read_integer
from langbot.problems import invalid
from runners.choices import Role
from runners.models import TranscriptItem

logger = logging.getLogger(__name__)

TOOL_ROWS = 10  # AG-66
HIDDEN_ROWS = 200  # AG-67
_VISIBLE = (Role.USER, Role.ASSISTANT)


class TranscriptPage(CursorPage):
    """A page that grows towards older rows where it would begin badly.

    Inside a group of tool results it takes in the message that asked for them; with
    nothing that a person or an agent said, the newest row before it that was said.
    `?before_sequence=` begins before a row that the caller has.
    """

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any]:
        before = _read_before(request)
        older = queryset if before is None else queryset.filter(seq__lt=before)
        rows = super().paginate_queryset(older, request, view)
        if self._next is not None and not self._is_backwards:
            rows += _grown(queryset, rows)
            self._next = self._link("n", rows[-1:]) if rows[-1].seq > 1 else None
        self._oldest = rows[-1].seq if rows else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data |= {
            "has_more": self._next is not None,
            "oldest_sequence": self._oldest,
        }
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        document = super().get_paginated_response_schema(schema)
        document["properties"] |= {
            "has_more": {"type": "boolean"},
            "oldest_sequence": {"type": ["integer", "null"]},
        }
        return document

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        before = {
            "name": "before_sequence",
            "in": "query",
            "schema": {"type": "integer"},
            "description": "Only messages before this one.",
        }
        return [*super().get_schema_operation_parameters(view), before]


def _grown(
    items: QuerySet[TranscriptItem], rows: list[TranscriptItem]
) -> list[TranscriptItem]:
    """Return the older rows that belong on this page, newest first."""
    more: list[TranscriptItem] = []
    if not any(row.role in _VISIBLE for row in rows):
        more = _back_to(items, rows[-1], HIDDEN_ROWS, _VISIBLE)
    oldest = (more or rows)[-1]
    if oldest.role == Role.TOOL:
        group = _back_to(items, oldest, TOOL_ROWS, (Role.ASSISTANT,))
        if not group:
            logger.warning("no message owns the tool result %s", oldest.public_id)
        more += group
    return more


def _back_to(
    items: QuerySet[TranscriptItem],
    row: TranscriptItem,
    most: int,
    roles: tuple[Role, ...],
) -> list[TranscriptItem]:
    """Return what is before `row` up to the first of these roles; nothing without."""
    older = list(items.filter(seq__lt=row.seq).order_by("-seq")[:most])
    found = (number for number, one in enumerate(older, 1) if one.role in roles)
    return older[: next(found, 0)]


def _read_before(request: Request) -> int | None:
    given = request.query_params.get("before_sequence")
    if given is None:
        return None
    number = read_integer(given)
    if number is None:
        raise invalid({"before_sequence": [_("Enter the number of a message.")]})
    return number
