"""REST for runs: their state, their ledger and their stream."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from agents.api.references import reference_to
from agents.models import Agent
from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.core.rest import StrictSerializer, WorkspaceViewSet
from langbot.lib.periods import within
from langbot.lib.prepared import is_word
from langbot.problems import invalid
from runners.api.answering import refusal
from runners.api.metadata import METADATA, with_metadata
from runners.api.references import BotReference
from runners.api.run_tokens import (
    RunTokenSerializer,
    TokenRequestSerializer,
    token_for,
)
from runners.api.serializers import RunEventSerializer, RunSerializer
from runners.api.sse import read_after, stream_run
from runners.choices import RunStatus
from runners.clients.tokens import LIFE_SECONDS
from runners.errors import AdmissionError
from runners.live import document_of
from runners.live_hub import is_hidden
from runners.models import AgentRun, RunEvent
from runners.retries import retry_run
from runners.services import request_cancel

# Columns of a page's rows that nobody is shown.
_LARGE = (
    "snapshot",
    "parent__snapshot",
    "event__input",
    "event__data",
    "event__delivery",
    "agent__runner_config",
)
_AFTER = OpenApiParameter("after", int, description="The last event that you have.")


class RunFilters(serializers.Serializer[Any]):
    status = serializers.MultipleChoiceField(required=False, choices=RunStatus.choices)
    agent = serializers.CharField(required=False, max_length=100)
    bot = BotReference(archived=True, required=False)
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
    ).defer(*_LARGE)
    serializer_class = RunSerializer
    filter_serializer = RunFilters

    def filter_rows(
        self, queryset: QuerySet[AgentRun], given: dict[str, Any]
    ) -> QuerySet[AgentRun]:
        bot, agent = given.pop("bot", None), given.pop("agent", None)
        queryset = queryset.filter(is_word("status", given.pop("status", ())))
        if bot is not None:
            given["bot_id"] = bot.public_id
        if agent is not None:
            named = Agent.objects.filter(reference_to(agent), workspace=self.workspace)
            # By key: PostgreSQL plans half of all runs otherwise than a few.
            given["agent__in"] = list(named.values_list("pk", flat=True))
        times = given.get("created_at__gt"), given.get("created_at__lt")
        rows = within(queryset, *times).filter(**given)
        return with_metadata(rows, self.workspace, self.request.query_params)

    @extend_schema(parameters=[METADATA])
    def list(self, request: Request) -> Response:
        """Runs, newest first."""
        return super().list(request)

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
        shown = (row for row in page if not is_hidden(row.type, row.data))
        return self.get_paginated_response(
            [document_of(run.public_id, row) for row in shown]
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
        if asked:
            record_act(author_of(request), "cancel requested", run)
        answer = self.get_serializer(self.get_queryset().get(pk=run.pk)).data
        return Response(answer, status=202 if asked else 200)

    @extend_schema(
        request=TokenRequestSerializer,
        responses=RunTokenSerializer,
        operation_id="run_token",
    )
    @action(detail=True, methods=["post"])
    def token(self, request: Request, id: UUID) -> Response:
        """Make a token for the run's socket; a client asks again when it expires."""
        run = self.get_object()
        serializer = TokenRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        conversation = run.conversation.public_id
        if serializer.validated_data.get("conversation", conversation) != conversation:
            raise invalid({"conversation": [_("The run is in another conversation.")]})
        return Response({"run_id": str(id), "conversation": str(conversation)})

    def after_answer(self, request: Request, response: Response) -> HttpResponseBase:
        if self.action == "token" and response.status_code == 200:  # noqa: PLR2004  HTTP's own number
            run_id, workspace = response.data["run_id"], self.required_workspace()
            # Made anew for a replayed answer: the first one has expired by then.
            response.data |= {
                "token": token_for(request, run_id, workspace.pk),
                "expires_in": LIFE_SECONDS,
                "socket": f"/ws/runs/{run_id}/",
            }
            response["Cache-Control"] = "no-store"
        return response

    @extend_schema(
        request=None, responses={201: RunSerializer}, operation_id="retry_run"
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, id: UUID) -> Response:
        """Try the event of an ended run again; 409 while its conversation is busy."""
        try:
            attempt = retry_run(self.get_object(), author_of(request))
        except AdmissionError as error:
            raise refusal(error) from None
        answer = self.get_serializer(self.get_queryset().get(pk=attempt.pk)).data
        place = {"id": attempt.public_id}
        location = reverse("langbot:run-detail", kwargs=place, request=request)
        return Response(answer, status=201, headers={"Location": location})
