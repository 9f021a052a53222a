"""REST for agents."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.serializers import (
    AgentFilters,
    AgentSerializer,
    CloneSerializer,
    TestSerializer,
)
from agents.api.versions import VersionActions
from agents.models import Agent, RunnerDescriptor
from agents.services import CONTENT, clone_agent, remove_agent, unarchive_agent
from langbot.core.access import author_of
from langbot.core.by_slug import BySlugViewSet
from runners.api.answering import ANSWERS
from runners.api.intake import message_from

_KNOWN_RUNNERS = RunnerDescriptor.objects.filter(
    Q(workspace=None) | Q(workspace=OuterRef("workspace")),
    runner_id=OuterRef("runner_id"),
)


class AgentViewSet(
    mixins.RetrieveModelMixin,
    mixins.ListModelMixin,
    BySlugViewSet[Agent],
    VersionActions,
):
    """Agents of the workspace; every change makes a version."""

    queryset = (
        Agent.objects.select_related("workspace")
        .filter(archived_at=None)
        .annotate(runner_known=Exists(_KNOWN_RUNNERS))
    )
    serializer_class = AgentSerializer
    filter_serializer = AgentFilters
    orderings = {
        "name": "name",
        "slug": "slug",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    def filter_rows(
        self, queryset: QuerySet[Agent], given: dict[str, Any]
    ) -> QuerySet[Agent]:
        return queryset.filter(
            **{name: value for name, value in given.items() if value is not None}
        )

    @extend_schema(responses={201: AgentSerializer})
    def create(self, request: Request) -> Response:
        """Create an agent. A runner that nobody offers yet is a warning only."""
        return self.created(request, {})

    def partial_update(self, request: Request, id: UUID) -> Response:
        """Change an agent; a change of nothing makes no version."""
        return self.change(partial=True)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Delete an agent; one that has run is archived instead, its runs stay."""
        with transaction.atomic():
            remove_agent(self.lock_object(), author=author_of(request))
        return Response(status=204)

    @extend_schema(responses=AgentSerializer, operation_id="agent_by_slug")
    @action(detail=False, url_path="by-slug/<slug:slug>")
    def by_slug(self, request: Request, slug: str) -> Response:
        """Return the agent of this slug."""
        return self.found(slug)

    @extend_schema(
        responses={200: AgentSerializer, 201: AgentSerializer},
        operation_id="put_agent_by_slug",
    )
    @by_slug.mapping.put
    def put_by_slug(self, request: Request, slug: str) -> Response:
        """Create the agent or replace what it says; unnamed fields get defaults.

        An archived agent of this slug comes back.
        """
        return self.put_slug(
            request, slug, defaults=_defaults(), unarchive=unarchive_agent
        )

    @extend_schema(
        request=CloneSerializer,
        responses={201: AgentSerializer},
        operation_id="clone_agent",
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, id: UUID) -> Response:
        """Copy the agent, secrets included and bindings not, under another slug."""
        given = CloneSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        copy = clone_agent(
            self.get_object(), author=author_of(request), **given.validated_data
        )
        return Response(self.get_serializer(copy).data, status=201)

    @extend_schema(request=TestSerializer, operation_id="test_agent", **ANSWERS)
    @action(
        detail=True,
        methods=["post"],
        serializer_class=TestSerializer,
        throttle_scope="messages",
    )
    def test(self, request: Request, id: UUID) -> Response:
        """Send the agent a message in a conversation of its own."""
        agent = self.get_object()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        text = serializer.validated_data["text"]
        return self.answer(
            message_from(request, agent.workspace, {"text": text}, agent=agent)
        )


def _defaults() -> dict[str, Any]:
    fresh = Agent()
    names = {*CONTENT, "runner_config"} - {"slug", "name", "runner_id"}
    return {name: getattr(fresh, name) for name in names}
