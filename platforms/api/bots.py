"""REST for bots."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from langbot.core.access import author_of
from langbot.core.by_slug import BySlugViewSet
from langbot.core.rest import ObjectField, StrictModelSerializer
from langbot.problems import Problem
from platforms.adapters import registry
from platforms.checking import check_bot
from platforms.models import Bot
from platforms.services import (
    BotInUseError,
    remove_bot,
    save_bot,
    settings_of,
    unarchive_bot,
)


class SettingsField(ObjectField):
    """A bot's settings; its secrets are shown as a mask and kept by it."""

    def get_attribute(self, instance: Bot) -> Any:
        return settings_of(instance)


class BotSerializer(StrictModelSerializer[Bot]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    adapter = serializers.CharField(max_length=50, help_text="The platform's name.")
    config = SettingsField(required=False)
    workspace: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = Bot
        fields = [
            "id",
            "slug",
            "name",
            "adapter",
            "config",
            "enabled",
            "workspace",
            "last_error",
            "last_event_at",
            "created_at",
        ]
        read_only_fields = ["last_error", "last_event_at", "created_at"]

    def validate_adapter(self, value: str) -> str:
        known = dict(registry.choices())
        stored = getattr(self.instance, "adapter", None)
        if value not in known and value != stored:
            message = _("Choose one of: %(names)s.") % {"names": ", ".join(known)}
            raise serializers.ValidationError(message)
        return value

    def create(self, validated_data: dict[str, Any]) -> Bot:
        settings = validated_data.pop("config", {})
        return self._save(Bot(**validated_data), settings)

    def update(self, instance: Bot, validated_data: dict[str, Any]) -> Bot:
        settings = validated_data.pop("config", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return self._save(instance, settings)

    def _save(self, bot: Bot, settings: dict[str, Any] | None) -> Bot:
        author = author_of(self.context["request"])
        return save_bot(bot, author=author, settings=settings)


class BotFilters(serializers.Serializer[Any]):
    slug = serializers.SlugField(required=False)
    name = serializers.CharField(required=False, max_length=200)
    adapter = serializers.CharField(required=False, max_length=50)
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)


class CheckSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(
        ["enabled", "platform", "settings", "connection", "binding"]
    )
    ok = serializers.BooleanField()
    detail = serializers.CharField()


class BotCheckSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField(help_text="Whether every check is.")
    checks = CheckSerializer(many=True)


class BotViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, BySlugViewSet[Bot]):
    """Bots: where people and systems talk to agents. Secrets are never shown."""

    queryset = Bot.objects.select_related("workspace").filter(archived_at=None)
    serializer_class = BotSerializer
    filter_serializer = BotFilters
    orderings = {"name": "name", "slug": "slug", "created_at": "created_at"}

    def filter_rows(
        self, queryset: QuerySet[Bot], given: dict[str, Any]
    ) -> QuerySet[Bot]:
        return queryset.filter(
            **{name: value for name, value in given.items() if value is not None}
        )

    @extend_schema(responses={201: BotSerializer})
    def create(self, request: Request) -> Response:
        """Create a bot; `config` takes its platform's settings, secrets included."""
        return self.created(request, {})

    def partial_update(self, request: Request, id: UUID) -> Response:
        """Change a bot; bindings follow it to a new slug."""
        return self.change(partial=True)

    @extend_schema(responses=BotSerializer, operation_id="bot_by_slug")
    @action(detail=False, url_path="by-slug/<slug:slug>")
    def by_slug(self, request: Request, slug: str) -> Response:
        """Return the bot of this slug."""
        return self.found(slug)

    @extend_schema(
        responses={200: BotSerializer, 201: BotSerializer},
        operation_id="put_bot_by_slug",
    )
    @by_slug.mapping.put
    def put_by_slug(self, request: Request, slug: str) -> Response:
        """Create the bot or replace what it says; unnamed fields get defaults.

        The mask keeps a secret. An archived bot of this slug comes back.
        """
        return self.put_slug(request, slug, defaults=_DEFAULTS, unarchive=unarchive_bot)

    def destroy(self, request: Request, id: UUID) -> Response:
        """Delete a bot, or archive one that has been used; 409 while it is bound."""
        try:
            with transaction.atomic():
                remove_bot(self.lock_object(), author=author_of(request))
        except BotInUseError as error:
            raise _in_use(error) from None
        return Response(status=204)

    @extend_schema(request=None, responses=BotCheckSerializer, operation_id="check_bot")
    @action(detail=True, methods=["post"], serializer_class=BotCheckSerializer)
    def check(self, request: Request, id: UUID) -> Response:
        """Say whether the bot would work, and what is missing."""
        checks = check_bot(self.get_object())
        answer = {"ok": all(check.ok for check in checks), "checks": checks}
        return Response(BotCheckSerializer(answer).data)


_DEFAULTS: dict[str, Any] = {"enabled": True, "config": {}}


def _in_use(error: BotInUseError) -> Problem:
    bindings = [str(binding.public_id) for binding in error.bindings]
    return Problem(409, "bot_in_use", str(error), extra={"bindings": bindings})
