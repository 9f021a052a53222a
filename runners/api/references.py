"""How clients name a bot."""

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.api.references import reference_to
from platforms.models import Bot


@extend_schema_field(OpenApiTypes.STR)
class BotReference(serializers.Field[Bot, Any, str, Any]):
    """A bot of the view's workspace by slug or id, shown as its id.

    `archived` admits those that have only a history: for filters.
    """

    def __init__(self, *, archived: bool = False, **kwargs: Any) -> None:
        self.archived = archived
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Bot:
        bots = Bot.objects.filter(workspace=self.context["view"].workspace)
        if not self.archived:
            bots = bots.filter(archived_at=None)
        bot = bots.filter(reference_to(data)).first()
        if bot is None:
            raise serializers.ValidationError(_("There is no such bot."))
        return bot

    def to_representation(self, value: Bot) -> str:
        return str(value.public_id)
