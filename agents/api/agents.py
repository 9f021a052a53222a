"""REST for agents."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.config_secrets import mask_config
from agents.models import Agent, AgentVersion
from agents.services import remove_agent, save_agent, unarchive_agent
from langbot.core.access import author_of
from langbot.core.rest import (
    ObjectField,
    StrictModelSerializer,
    StrictSerializer,
)
from langbot.lib.conf import limits
from runners.api.answering import ANSWERS, AnsweringViewSet
from runners.api.intake import message_from

_RUNNER_ID = RegexValidator(r"\Aplugin:[^/:\s]+/[^/\s]+/[^/\s]+\Z")


class ConfigField(ObjectField):
    """A runner's configuration; its secrets are shown as a mask and kept by it."""

    def to_representation(self, value: Any) -> Any:
        return mask_config(value)


class AgentSerializer(StrictModelSerializer[Agent]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    runner = serializers.CharField(
        source="runner_id", max_length=300, validators=[_RUNNER_ID]
    )
    runner_config = ConfigField(required=False)
    resource_policy = ObjectField(required=False)
    state_policy = ObjectField(required=False)
    delivery_policy = ObjectField(required=False)
    approval_policy = ObjectField(required=False)
    event_types = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=100, required=False
    )
    workspace: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = Agent
        fields = [
            "id",
            "slug",
            "name",
            "description",
            "enabled",
            "runner",
            "runner_config",
            "resource_policy",
            "state_policy",
            "delivery_policy",
            "approval_policy",
            "event_types",
            "session_scope",
            "workspace",
            "version",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["version", "created_at", "updated_at"]
        extra_kwargs = {"description": {"max_length": 20_000}}

    def create(self, validated_data: dict[str, Any]) -> Agent:
        request: Request = self.context["request"]
        agent = Agent(owner_id=request.user.pk, **validated_data)
        return self._save(agent, request)

    def update(self, instance: Agent, validated_data: dict[str, Any]) -> Agent:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return self._save(instance, self.context["request"])

    def _save(self, agent: Agent, request: Request) -> Agent:
        try:
            return save_agent(agent, author=author_of(request))
        except ValidationError as error:
            raise renamed(error, {"runner_id": "runner"}) from None


def renamed(error: ValidationError, names: dict[str, str]) -> ValidationError:
    """Return the error with model fields named as the API names them."""
    if not hasattr(error, "error_dict"):
        return error
    return ValidationError(
        {names.get(name, name): found for name, found in error.error_dict.items()}
    )


class AgentFilters(serializers.Serializer[Any]):
    slug = serializers.SlugField(required=False)
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)
    runner = serializers.CharField(required=False, max_length=300, source="runner_id")


class VersionSerializer(serializers.ModelSerializer[AgentVersion]):
    data: Any = serializers.SerializerMethodField()

    class Meta:
        model = AgentVersion
        fields = ["number", "author", "created_at", "data"]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_data(self, version: AgentVersion) -> dict[str, Any]:
        data = dict(version.data)
        if isinstance(data.get("runner_config"), dict):
            data["runner_config"] = mask_config(data["runner_config"])
        return data


class TestSerializer(StrictSerializer):
    text = serializers.CharField(
        max_length=limits().follow_up_characters, trim_whitespace=False
    )


class AgentViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, AnsweringViewSet[Agent]
):
    """Agents of the workspace; every change makes a version."""

    queryset = Agent.objects.select_related("workspace").filter(archived_at=None)
    serializer_class = AgentSerializer
    filter_serializer = AgentFilters

    def filter_rows(
        self, queryset: QuerySet[Agent], given: dict[str, Any]
    ) -> QuerySet[Agent]:
        return queryset.filter(
            **{name: value for name, value in given.items() if value is not None}
        )

    def create(self, request: Request) -> Response:
        return Response(self._create(request, {}), status=201)

    def _create(self, request: Request, extra: dict[str, Any]) -> Any:
        workspace = self.required_workspace()
        serializer = self.get_serializer(data={**_object(request.data), **extra})
        serializer.is_valid(raise_exception=True)
        serializer.save(workspace=workspace)
        return serializer.data

    def partial_update(self, request: Request, id: UUID) -> Response:
        return self.change(partial=True)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Delete an agent; one that has run is archived instead, its runs stay."""
        with transaction.atomic():
            remove_agent(self.lock_object(), author=author_of(request))
        return Response(status=204)

    @extend_schema(responses=AgentSerializer)
    @action(detail=False, url_path="by-slug/<slug:slug>")
    def by_slug(self, request: Request, slug: str) -> Response:
        """Return the agent of this slug."""
        agent = get_object_or_404(self.get_queryset(), slug=slug)
        return Response(self.get_serializer(agent).data)

    @extend_schema(responses={200: AgentSerializer, 201: AgentSerializer})
    @by_slug.mapping.put
    def put_by_slug(self, request: Request, slug: str) -> Response:
        """Create the agent or replace what it says; unnamed fields get defaults.

        An archived agent of this slug comes back.
        """
        workspace = self.required_workspace()
        agent = Agent.objects.filter(workspace=workspace, slug=slug).first()
        if agent is None:
            return Response(self._create(request, {"slug": slug}), status=201)
        with transaction.atomic():
            if agent.archived_at is not None:
                unarchive_agent(agent, author=author_of(request))
            self.kwargs["id"] = agent.public_id
            locked = self.lock_object()
            data = {**_defaults(locked), **_object(request.data), "slug": slug}
            serializer = self.get_serializer(locked, data=data)
            serializer.is_valid(raise_exception=True)
            serializer.save()
        return Response(serializer.data)

    @extend_schema(
        responses=VersionSerializer(many=True), filters=False, operation_id="versions"
    )
    @action(detail=True, serializer_class=VersionSerializer, page_order="-number")
    def versions(self, request: Request, id: UUID) -> Response:
        """List what the agent was after each save, newest first."""
        agent = get_object_or_404(
            Agent, workspace=self.workspace, archived_at=None, public_id=id
        )
        return self.listing(AgentVersion.objects.filter(agent=agent))

    @extend_schema(request=TestSerializer, **ANSWERS)
    @action(detail=True, methods=["post"], serializer_class=TestSerializer)
    def test(self, request: Request, id: UUID) -> Response:
        """Send the agent a message in a conversation of its own."""
        agent = self.get_object()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        text = serializer.validated_data["text"]
        return self.answer(
            message_from(request, agent.workspace, {"text": text}, agent=agent)
        )


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise serializers.ValidationError([_("Enter a JSON object.")])
    return data


def _defaults(agent: Agent) -> dict[str, Any]:
    fresh = Agent()
    names = {
        "description",
        "enabled",
        "runner_config",
        "resource_policy",
        "state_policy",
        "delivery_policy",
        "approval_policy",
        "event_types",
        "session_scope",
    }
    return {name: getattr(fresh, name) for name in names}
