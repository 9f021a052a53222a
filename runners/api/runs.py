"""REST for runs: their state, their ledger and their stream."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.references import reference_to
from agents.models import Agent
from langbot.core.access import author_of
from langbot.core.rest import StrictSerializer, WorkspaceViewSet
from runners.api.references import BotReference
from runners.api.serializers import (
    DeliverySerializer,
    RunEventSerializer,
    RunSerializer,
)
from runners.api.sse import read_after, stream_run
from runners.choices import DeliveryStatus, RunStatus
from runners.live import document_of
from runners.models import AgentRun, Delivery, RunEvent
from runners.services import request_cancel

_AFTER = OpenApiParameter("after", int, description="The last event that you have.")


class RunFilters(serializers.Serializer[Any]):
    status = serializers.MultipleChoiceField(
        required=False, choices=RunStatus.choices, source="status__in"
    )
    agent = serializers.CharField(required=False, max_length=100)
    bot = BotReference(required=False)
    conversation = serializers.UUIDField(
        required=False, source="conversation__public_id"
    )
    parent: Any = serializers.UUIDField(required=False, source="parent__public_id")
    created_after = serializers.DateTimeField(required=False, source="created_at__gt")
    created_before = serializers.DateTimeField(required=False, source="created_at__lt")


class CancelSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=200, required=False, allow_blank=True)


class RunViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[AgentRun]
):
    """Runs, newest first. Labels and notes are the only things people change."""

    queryset = AgentRun.objects.select_related(
        "agent", "conversation", "event", "parent"
    ).defer("snapshot")
    serializer_class = RunSerializer
    filter_serializer = RunFilters

    def filter_rows(
        self, queryset: QuerySet[AgentRun], given: dict[str, Any]
    ) -> QuerySet[AgentRun]:
        bot, agent = given.pop("bot", None), given.pop("agent", None)
        if bot is not None:
            given["bot_id"] = bot.public_id
        if agent is not None:
            given["agent__in"] = Agent.objects.filter(
                reference_to(agent), workspace=self.workspace
            )
        return queryset.filter(**given)

    def partial_update(self, request: Request, id: UUID) -> Response:
        return self.change(partial=True)

    @extend_schema(
        parameters=[_AFTER],
        responses=RunEventSerializer(many=True),
        operation_id="run_events",
    )
    @action(detail=True, serializer_class=RunEventSerializer, page_order="seq")
    def events(self, request: Request, id: UUID) -> Response:
        """The run's ledger after `?after=SEQ`, oldest first."""
        run = self.get_object()
        rows: Any = RunEvent.objects.filter(run=run, seq__gt=read_after(request))
        page: list[Any] = self.paginate_queryset(rows) or []
        return self.get_paginated_response(
            [document_of(run.public_id, row) for row in page]
        )

    @extend_schema(
        parameters=[_AFTER],
        responses={(200, "text/event-stream"): OpenApiTypes.STR, 204: None},
        operation_id="run_stream",
    )
    @action(detail=True)
    def stream(self, request: Request, id: UUID) -> HttpResponseBase:
        """Server-sent events after `Last-Event-ID`, to the end of the run."""
        run, after = self.get_object(), read_after(request)
        if run.is_terminal and after >= run.last_seq:
            return HttpResponse(status=204)
        return stream_run(run.public_id, after)

    @extend_schema(
        request=CancelSerializer,
        responses={200: RunSerializer, 202: RunSerializer},
        operation_id="cancel_run",
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: UUID) -> Response:
        """Ask the run to stop (202); one that has ended stays as it is (200)."""
        run = self.get_object()
        serializer = CancelSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        reason = serializer.validated_data.get("reason") or author_of(request)
        asked = not run.is_terminal and request_cancel(run, reason)
        answer = self.get_serializer(self.get_queryset().get(pk=run.pk)).data
        return Response(answer, status=202 if asked else 200)


class DeliveryFilters(serializers.Serializer[Any]):
    status = serializers.MultipleChoiceField(
        required=False, choices=DeliveryStatus.choices, source="status__in"
    )
    bot = BotReference(required=False)
    run = serializers.UUIDField(required=False, source="run__public_id")
    conversation = serializers.UUIDField(
        required=False, source="conversation__public_id"
    )


class DeliveryViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[Delivery]
):
    """Replies on their way out, with every attempt."""

    queryset = Delivery.objects.select_related("run", "conversation")
    serializer_class = DeliverySerializer
    filter_serializer = DeliveryFilters

    def filter_rows(
        self, queryset: QuerySet[Delivery], given: dict[str, Any]
    ) -> QuerySet[Delivery]:
        bot = given.pop("bot", None)
        if bot is not None:
            given["bot_id"] = bot.public_id
        return queryset.filter(**given)
