"""REST for what agents were: versions, their differences, and the way back."""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.serializers import (
    AgentSerializer,
    ComparedVersionSerializer,
    VersionSerializer,
)
from agents.models import Agent, AgentVersion
from agents.services import restore_version
from langbot.core.access import author_of
from langbot.core.pagination import read_integer
from langbot.core.rest import etag_of
from langbot.problems import invalid
from runners.api.answering import AnsweringViewSet

_AGAINST = OpenApiParameter(
    "against",
    {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    description="Another version of the agent: `differences` lead from it to this one.",
)


class VersionActions(AnsweringViewSet[Agent]):
    """What `agents/{id}/versions/…` answers."""

    @extend_schema(
        responses=VersionSerializer(many=True), filters=False, operation_id="versions"
    )
    @action(detail=True, serializer_class=VersionSerializer, page_order="-number")
    def versions(self, request: Request, id: UUID) -> Response:
        """List what the agent was after each save, newest first."""
        return self.listing(AgentVersion.objects.filter(agent=self._agent_key(id)))

    @extend_schema(
        parameters=[_AGAINST],
        responses=ComparedVersionSerializer,
        operation_id="version",
    )
    @action(
        detail=True,
        url_path="versions/<int:number>",
        url_name="version",
        serializer_class=ComparedVersionSerializer,
    )
    def version(self, request: Request, id: UUID, number: int) -> Response:
        """Return one version, or how it differs from another (`?against=`)."""
        mine = AgentVersion.objects.filter(agent=self._agent_key(id))
        version = get_object_or_404(mine, number=number)
        context = {**self.get_serializer_context(), "against": _other(request, mine)}
        data = ComparedVersionSerializer(version, context=context).data
        return Response(data, headers={"ETag": etag_of(data)})

    @extend_schema(
        request=None, responses=AgentSerializer, operation_id="restore_version"
    )
    @action(
        detail=True,
        methods=["post"],
        url_path="versions/<int:number>/restore",
        url_name="restore",
    )
    def restore(self, request: Request, id: UUID, number: int) -> Response:
        """Make the agent what it was; its secrets stay as they are now."""
        with transaction.atomic():
            agent = self.lock_object()
            if not AgentVersion.objects.filter(agent=agent, number=number).exists():
                raise Http404
            restored = restore_version(agent, number, author=author_of(request))
        return Response(self.get_serializer(restored).data)

    def _agent_key(self, public_id: UUID) -> int:
        """Return the key only: an agent's configuration may be large."""
        keys = self.get_queryset().filter(public_id=public_id)
        key = keys.values_list("pk", flat=True).first()
        if key is None:
            raise Http404
        return key


def _other(request: Request, mine: QuerySet[AgentVersion]) -> AgentVersion | None:
    given = request.query_params.get("against")
    if given is None:
        return None
    number = read_integer(given)
    if number is None:
        raise invalid({"against": [_("Enter the number of a version.")]})
    return get_object_or_404(mine, number=number)
