"""Objects of a workspace that people address by slug: created or replaced by PUT."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Model
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.rest import WorkspaceViewSet, json_object

Row = TypeVar("Row", bound=Model)


class BySlugViewSet(WorkspaceViewSet[Row]):
    """What `by-slug/{slug}/` and POST do; a view set adds the routes and what it is."""

    def created(self, request: Request, extra: dict[str, Any]) -> Response:
        """Create an object of the workspace; `extra` counts more than what was sent."""
        workspace = self.required_workspace()
        serializer = self.get_serializer(data={**json_object(request.data), **extra})
        serializer.is_valid(raise_exception=True)
        serializer.save(workspace=workspace)
        return Response(serializer.data, status=201)

    def found(self, slug: str) -> Response:
        """Answer the object of a slug."""
        row = get_object_or_404(self.get_queryset(), slug=slug)
        return Response(self.get_serializer(row).data)

    def put_slug(
        self,
        request: Request,
        slug: str,
        *,
        defaults: dict[str, Any],
        unarchive: Callable[..., Any],
    ) -> Response:
        """Create the object or replace what it says: unnamed fields get `defaults`.

        An archived one comes back by `unarchive(row, author=…)`.
        """
        model: Any = self.get_queryset().model
        workspace = self.required_workspace()
        row = model.objects.filter(workspace=workspace, slug=slug).first()
        if row is None:
            return self.created(request, {"slug": slug})
        with transaction.atomic():
            if row.archived_at is not None:
                unarchive(row, author=author_of(request))
            self.kwargs["id"] = row.public_id
            locked = self.lock_object()
            data = {**defaults, **json_object(request.data), "slug": slug}
            serializer = self.get_serializer(locked, data=data)
            serializer.is_valid(raise_exception=True)
            serializer.save()
        return Response(serializer.data)
