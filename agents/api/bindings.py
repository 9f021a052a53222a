"""REST for bindings."""

from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.references import AgentReference, reference_to
from agents.api.resolving import ResolveActions
from agents.bindings import EVENT_PATTERN, lock_places
from agents.choices import BindingScope
from agents.models import Agent, AgentBinding
from agents.services import delete_binding, save_binding
from langbot.core.access import author_of
from langbot.core.api.permissions import check_global
from langbot.core.models import Workspace
from langbot.core.rest import ObjectField, StrictModelSerializer


class BindingSerializer(StrictModelSerializer[AgentBinding]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    agent = AgentReference()
    event_pattern = serializers.RegexField(
        EVENT_PATTERN, max_length=100, required=False
    )
    filters = ObjectField(required=False)
    # SQLite would take any number.
    priority = serializers.IntegerField(
        min_value=-(2**31), max_value=2**31 - 1, required=False
    )
    resource_policy = ObjectField(required=False, allow_null=True)
    state_policy = ObjectField(required=False, allow_null=True)
    delivery_policy = ObjectField(required=False, allow_null=True)

    class Meta:
        model = AgentBinding
        fields = [
            "id",
            "agent",
            "scope",
            "scope_ref",
            "event_pattern",
            "filters",
            "priority",
            "enabled",
            "resource_policy",
            "state_policy",
            "delivery_policy",
            "created_at",
        ]
        read_only_fields = ["created_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        scope = attrs.get("scope", getattr(self.instance, "scope", None))
        if scope == BindingScope.GLOBAL:
            check_global(self.context["request"])
        reference = attrs.get("scope_ref", getattr(self.instance, "scope_ref", ""))
        if scope == BindingScope.BOT and reference:
            _check_bot(self.context["view"].workspace, reference)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> AgentBinding:
        return save_binding(
            AgentBinding(**validated_data), author=author_of(self.context["request"])
        )

    def update(
        self, instance: AgentBinding, validated_data: dict[str, Any]
    ) -> AgentBinding:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return save_binding(instance, author=author_of(self.context["request"]))


def _check_bot(workspace: Workspace | None, slug: str) -> None:
    # By name: `platforms` is a layer above this app.
    bots = apps.get_model("langbot_platforms", "Bot")._default_manager
    mine = bots.filter(workspace=workspace, slug=slug, archived_at=None)
    if not mine.exists():
        raise serializers.ValidationError({"scope_ref": [_("There is no such bot.")]})


class BindingFilters(serializers.Serializer[Any]):
    agent = serializers.CharField(
        required=False, max_length=100, help_text="An id or a slug."
    )
    scope = serializers.ChoiceField(required=False, choices=BindingScope.choices)
    scope_ref = serializers.CharField(required=False, max_length=100)
    event_pattern = serializers.CharField(required=False, max_length=100)
    priority = serializers.IntegerField(
        required=False, min_value=-(2**31), max_value=2**31 - 1
    )
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)


class BindingViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, ResolveActions):
    """Which agent answers which events; two that would tie are refused."""

    queryset = AgentBinding.objects.select_related("agent").filter(
        agent__archived_at=None
    )
    serializer_class = BindingSerializer
    filter_serializer = BindingFilters
    workspace_field = "agent__workspace"
    orderings = {
        "priority": "priority",
        "scope": "scope",
        "event_pattern": "event_pattern",
        "created_at": "created_at",
    }

    def filter_rows(
        self, queryset: QuerySet[AgentBinding], given: dict[str, Any]
    ) -> QuerySet[AgentBinding]:
        agent = given.pop("agent", None)
        if agent is not None:
            found = Agent.objects.filter(reference_to(agent), workspace=self.workspace)
            queryset = queryset.filter(agent__in=found)
        return queryset.filter(
            **{name: value for name, value in given.items() if value is not None}
        )

    @extend_schema(responses={201: BindingSerializer})
    def create(self, request: Request) -> Response:
        """Bind an agent; one that would tie with another is refused."""
        self.required_workspace()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data, status=201)

    def partial_update(self, request: Request, id: UUID) -> Response:
        """Change a binding."""
        with transaction.atomic():
            owner = AgentBinding.objects.filter(public_id=id)
            lock_places(*owner.values_list("agent__workspace", flat=True))
            return self.change(partial=True)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Delete a binding; the runs it began stay."""
        with transaction.atomic():
            binding = self.lock_object()
            if binding.scope == BindingScope.GLOBAL:
                check_global(request)
            delete_binding(binding, author=author_of(request))
        return Response(status=204)
