"""REST for the dry run of matching."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.explaining import document_of, explain
from agents.models import AgentBinding
from langbot.core.rest import WorkspaceViewSet
from runners.api.events import NewEventSerializer
from runners.api.intake import event_from
from runners.dry_runs import candidate_of


class NamedBindingSerializer(serializers.Serializer[Any]):
    """A binding; ids are null for a global one of another workspace."""

    binding = serializers.UUIDField(allow_null=True)
    agent = serializers.UUIDField(allow_null=True)
    agent_slug = serializers.CharField(allow_null=True)
    scope = serializers.CharField()
    scope_ref = serializers.CharField()
    event_pattern = serializers.CharField(allow_null=True)
    priority = serializers.IntegerField()


class LostBindingSerializer(NamedBindingSerializer):
    reason = serializers.CharField()


class ResolutionSerializer(serializers.Serializer[Any]):
    """What would become of the event."""

    status = serializers.ChoiceField(["matched", "ignored", "tied"])
    winner = NamedBindingSerializer(allow_null=True)
    tied = NamedBindingSerializer(many=True)
    lost = LostBindingSerializer(many=True, help_text="The nearest 200.")
    lost_count = serializers.IntegerField()


class ResolveActions(WorkspaceViewSet[AgentBinding]):
    """What `bindings/resolve/` answers."""

    @extend_schema(
        request=NewEventSerializer,
        responses=ResolutionSerializer,
        operation_id="resolve_binding",
    )
    @action(detail=False, methods=["post"])
    def resolve(self, request: Request) -> Response:
        """Say which binding an event would match; nothing is written."""
        workspace = self.required_workspace()
        serializer = NewEventSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        event = candidate_of(event_from(request, workspace, serializer.validated_data))
        return Response(document_of(explain(event), workspace.pk))
