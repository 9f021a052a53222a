"""What platforms and visitors say, on its way to admission."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from langbot.lib.text import storable
from platforms.adapters import registry
from platforms.adapters.base import PlatformEvent
from platforms.adapters.params import safe_params
from platforms.models import Bot
from runners.admission import Admitted, BotRef, Incoming, admit

_SEEN_SECONDS = 60.0  # how exact `last_event_at` is


def receive(bot: Bot, event: PlatformEvent) -> Admitted:
    """Admit one event of a bot; raises AdmissionError when it is refused."""
    admitted = admit(incoming(bot, event))
    _mark_seen(bot)
    return admitted


def incoming(bot: Bot, event: PlatformEvent) -> Incoming:
    """Return the envelope; its source is the bot, whatever the sender says."""
    adapter = registry.get(bot.adapter)
    return Incoming(
        workspace=bot.workspace,
        source=f"bot:{bot.public_id}",
        event_id=event.event_id,
        type=event.type,
        trigger_source=adapter.trigger_source,
        time=event.time,
        bot=BotRef(bot.public_id, bot.slug),
        external_conversation=event.conversation,
        thread=event.thread,
        actor=storable(event.actor),
        subject=storable(event.subject),
        input=storable(event.input),
        data=storable(event.data),
        delivery=_delivery(adapter.surface, event),
        source_event_type=event.source_event_type,
    )


def _delivery(surface: str, event: PlatformEvent) -> dict[str, Any]:
    delivery: dict[str, Any] = {
        "surface": surface,
        "automatic_reply": True,
        "conversation": event.conversation,  # a replay of an ignored event needs it
        "reply_target": storable(event.reply_target),
        "supports_streaming": True,
        "supports_edit": False,
        "supports_reaction": False,
    }
    params = safe_params(storable(event.params))
    if params:
        delivery["adapter"] = {"extra": {"params": params}}
    return delivery


def _mark_seen(bot: Bot) -> None:
    edge = datetime.now(UTC) - timedelta(seconds=_SEEN_SECONDS)
    if bot.last_event_at is not None and bot.last_event_at > edge:
        return
    stale = Q(last_event_at=None) | Q(last_event_at__lt=edge)
    Bot.objects.filter(stale, pk=bot.pk).update(last_event_at=Now())
