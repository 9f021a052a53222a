"""Broken bots, for those who want to be told by mail."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from langbot.core.audit_words import address_of
from langbot.core.notices import NoticeKind
from langbot.core.notifications import Found, Kind, register
from platforms.models import Bot

BROKEN_SECONDS = 300.0  # one failed attempt that the next one mends is no break


def register_notices() -> None:
    """Say what the kind is; called when the apps are ready."""
    register(
        Kind(
            NoticeKind.BOT,
            subject=_("The bot %(bot)s has a problem: %(error)s"),
            permission="langbot_platforms.view_bot",
            wait_seconds=BROKEN_SECONDS,
            is_current=_is_broken,
            find=broken_bots,
        )
    )


def broken_bots() -> Iterator[Found]:
    """Yield each bot whose platform reports a problem: told of once a day."""
    today = datetime.now(UTC).date().isoformat()
    for bot in _broken().only("public_id", "workspace_id", "name", "last_error"):
        path = address_of("langbot_platforms.bot", bot.pk)
        context = {"bot": bot.name, "error": bot.last_error[:100], "path": path}
        yield Found(bot.workspace_id, f"{bot.public_id}:{today}", context)


def _broken() -> QuerySet[Bot]:
    return Bot.objects.filter(enabled=True).exclude(last_error="")


def _is_broken(key: str) -> bool:
    return _broken().filter(public_id=UUID(key.partition(":")[0])).exists()


__all__ = ["broken_bots", "register_notices"]
