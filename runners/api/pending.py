"""The messages that wait in a conversation, and how many they are (AG-07)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.pagination import CursorPage


class PendingPage(CursorPage):
    """A page that says how many wait in all: a queue is short."""

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any]:
        self._count: int = queryset.count()
        rows: list[Any] = super().paginate_queryset(queryset, request, view)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["count"] = self._count
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        document = super().get_paginated_response_schema(schema)
        document["properties"]["count"] = {"type": "integer"}
        return document
