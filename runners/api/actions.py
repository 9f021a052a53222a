"""REST for what waits for a person: approvals of tool calls and questions."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.references import reference_to
from agents.models import Agent
from langbot.core.access import author_of
from langbot.core.rest import ObjectField, StrictSerializer, WorkspaceViewSet
from langbot.lib.prepared import is_word
from langbot.lib.redaction import redact_secrets
from langbot.problems import Problem
from runners.action_forms import unmasked
from runners.actions import (
    ActionExpiredError,
    ActionResolvedError,
    Decider,
    Decision,
    DecisionInvalidError,
    resolve_action,
)
from runners.api.answering import refusal
from runners.choices import ActionKind, ActionStatus
from runners.decisions import REASON_CHARACTERS, SCOPES, STATUS_OF
from runners.errors import AdmissionError
from runners.models import PendingAction


class ActionSerializer(serializers.ModelSerializer[PendingAction]):
    """An approval or a question, with its decision once there is one."""

    id = serializers.UUIDField(source="public_id")
    status = serializers.ChoiceField(ActionStatus.choices, source="current_status")
    run = serializers.UUIDField(source="run.public_id", allow_null=True, default=None)
    conversation = serializers.UUIDField(source="conversation.public_id")
    agent = serializers.UUIDField(source="agent.public_id")
    arguments = serializers.SerializerMethodField()
    decision = serializers.SerializerMethodField()
    decided_by = serializers.CharField(source="decided_by_name")

    class Meta:
        model = PendingAction
        fields = [
            "id",
            "kind",
            "status",
            "run",
            "conversation",
            "agent",
            "tool_call_id",
            "tool_name",
            "arguments",
            "reason",
            "form",
            "parked",
            "expires_at",
            "decided_by",
            "decided_at",
            "decision",
            "answer",
            "created_at",
        ]

    def get_arguments(self, row: PendingAction) -> dict[str, Any]:
        shown: dict[str, Any] = redact_secrets(row.arguments)
        return shown

    def get_decision(self, row: PendingAction) -> dict[str, Any] | None:
        shown: dict[str, Any] | None = redact_secrets(row.decision)
        return shown


class ResolveSerializer(StrictSerializer):
    """One decision; `args` belong to `edit`, `values` to `respond`."""

    decision = serializers.ChoiceField(choices=tuple(STATUS_OF))
    reason = serializers.CharField(
        max_length=REASON_CHARACTERS, required=False, allow_blank=True
    )
    args = ObjectField(required=False)
    values = ObjectField(required=False)
    scope = serializers.ChoiceField(choices=SCOPES, required=False)


class ActionFilters(serializers.Serializer[Any]):
    status = serializers.MultipleChoiceField(
        required=False, choices=ActionStatus.choices
    )
    kind = serializers.ChoiceField(required=False, choices=ActionKind.choices)
    tool_name = serializers.CharField(required=False, max_length=200)
    agent = serializers.CharField(required=False, max_length=200)
    run = serializers.UUIDField(required=False, source="run__public_id")
    conversation = serializers.UUIDField(
        required=False, source="conversation__public_id"
    )


class ActionViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, WorkspaceViewSet[PendingAction]
):
    """The inbox: what waits for a person, and what was decided; newest first."""

    queryset = PendingAction.objects.select_related(
        "run", "conversation", "agent"
    ).defer("run__snapshot")
    serializer_class = ActionSerializer
    filter_serializer = ActionFilters

    def filter_rows(
        self, queryset: QuerySet[PendingAction], given: dict[str, Any]
    ) -> QuerySet[PendingAction]:
        agent = given.pop("agent", None)
        statuses = given.pop("status", ())
        queryset = queryset.filter(is_word("status", statuses))
        if ActionStatus.OPEN in statuses:
            late = Q(status=ActionStatus.OPEN, expires_at__lte=datetime.now(UTC))
            queryset = queryset.exclude(late)
        if agent is not None:
            named = Agent.objects.filter(reference_to(agent), workspace=self.workspace)
            given["agent__in"] = list(named.values_list("pk", flat=True))
        return queryset.filter(**given)

    @extend_schema(
        request=ResolveSerializer,
        responses={200: ActionSerializer},
        operation_id="resolve_action",
    )
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, id: UUID) -> Response:
        """Decide once; afterwards 409, naming who decided, when and what."""
        found = self.get_object()
        given = ResolveSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        decided = dict(given.validated_data)
        if "args" in decided:  # what is masked here stays as it is
            decided["args"] = unmasked(decided["args"], found.arguments)
        decider = Decider(user=request.user, name=author_of(request))
        try:
            resolve_action(found.public_id, Decision(**decided), decider)
        except DecisionInvalidError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from None
        except ActionResolvedError as error:
            raise _late(error) from None
        except ActionExpiredError as error:
            raise Problem(409, error.code, str(error)) from None
        except AdmissionError as error:
            raise refusal(error) from None
        return Response(self.get_serializer(self.get_object()).data)


def _late(error: ActionResolvedError) -> Problem:
    row = error.action
    extra = {
        "decided_by": row.decided_by_name,
        "decided_at": row.decided_at.isoformat() if row.decided_at else None,
        "decision": (row.decision or {}).get("decision", ""),
    }
    return Problem(409, error.code, str(error), extra=extra)
