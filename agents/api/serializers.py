"""What agents and their versions look like to clients."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from agents.choices import SessionScope
from agents.config_secrets import mask_config
from agents.models import Agent, AgentVersion
from agents.services import RUNNER_ID, is_runner_known, save_agent, whole_content
from langbot.core.access import author_of
from langbot.core.fields import TextField
from langbot.core.rest import ObjectField, StrictModelSerializer, StrictSerializer
from langbot.lib.conf import limits
from langbot.lib.differences import differences


class ConfigField(ObjectField):
    """A runner's configuration; its secrets are shown as a mask and kept by it."""

    def to_representation(self, value: Any) -> Any:
        return mask_config(value)


class WarningSerializer(serializers.Serializer[Any]):
    """What was accepted but will not work as it is."""

    code = serializers.CharField()
    field = serializers.CharField()
    detail = serializers.CharField()


class AgentSerializer(StrictModelSerializer[Agent]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    runner = serializers.CharField(
        source="runner_id", max_length=300, validators=[RegexValidator(RUNNER_ID)]
    )
    runner_config = ConfigField(required=False)
    resource_policy = ObjectField(required=False)
    state_policy = ObjectField(required=False)
    delivery_policy = ObjectField(required=False)
    approval_policy = ObjectField(required=False)
    event_types = serializers.ListField(
        child=TextField(max_length=100), max_length=100, required=False
    )
    workspace: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    warnings = serializers.SerializerMethodField()

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
            "multitask_strategy",
            "workspace",
            "version",
            "warnings",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["version", "created_at", "updated_at"]
        extra_kwargs = {"description": {"max_length": 20_000}}

    @extend_schema_field(WarningSerializer(many=True))
    def get_warnings(self, agent: Agent) -> list[dict[str, str]]:
        known = getattr(agent, "runner_known", None)  # lists ask for all at once
        if is_runner_known(agent) if known is None else known:
            return []
        detail = _("No plugin has offered this runner yet.")
        return [{"code": "runner_unknown", "field": "runner", "detail": detail}]

    def create(self, validated_data: dict[str, Any]) -> Agent:
        request: Request = self.context["request"]
        agent = Agent(owner_id=request.user.pk, **validated_data)
        return self._save(agent, request)

    def update(self, instance: Agent, validated_data: dict[str, Any]) -> Agent:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        vars(instance).pop("runner_known", None)  # it may be another runner now
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
    name = serializers.CharField(required=False, max_length=200)
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)
    runner = serializers.CharField(required=False, max_length=300, source="runner_id")
    session_scope = serializers.ChoiceField(
        required=False, choices=SessionScope.choices
    )
    created_after = serializers.DateTimeField(required=False, source="created_at__gt")
    created_before = serializers.DateTimeField(required=False, source="created_at__lt")


class VersionSerializer(serializers.ModelSerializer[AgentVersion]):
    data: Any = serializers.SerializerMethodField()

    class Meta:
        model = AgentVersion
        fields = ["number", "author", "created_at", "data"]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_data(self, version: AgentVersion) -> dict[str, Any]:
        return shown_content(version)


class DifferenceSerializer(serializers.Serializer[Any]):
    """One value that differs; secrets are masks on both sides."""

    path = serializers.CharField(help_text="Names joined by dots.")
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class ComparedVersionSerializer(VersionSerializer):
    """A version; with `?against=` also what changed from that one to this."""

    against = serializers.SerializerMethodField()
    differences = serializers.SerializerMethodField()

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "against", "differences"]

    def get_against(self, version: AgentVersion) -> int | None:
        other = self._other()
        return None if other is None else other.number

    @extend_schema_field(DifferenceSerializer(many=True, allow_null=True))
    def get_differences(self, version: AgentVersion) -> list[dict[str, Any]] | None:
        other = self._other()
        if other is None:
            return None
        return differences(shown_content(other), shown_content(version))

    def _other(self) -> AgentVersion | None:
        other: AgentVersion | None = self.context.get("against")
        return other


def shown_content(version: AgentVersion) -> dict[str, Any]:
    """Return a version's content as clients know it: `runner`, and no secrets."""
    data = {
        "runner" if name == "runner_id" else name: value
        for name, value in whole_content(version).items()
    }
    if isinstance(data.get("runner_config"), dict):
        data["runner_config"] = mask_config(data["runner_config"])
    return data


class CloneSerializer(StrictSerializer):
    slug = serializers.SlugField(max_length=50, required=False)
    name = serializers.CharField(max_length=200, required=False)


class TestSerializer(StrictSerializer):
    text = serializers.CharField(
        max_length=limits().follow_up_characters, trim_whitespace=False
    )
