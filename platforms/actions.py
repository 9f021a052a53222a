"""Acts on platforms for runs: the implementation of `runners.platform_actions`."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from langbot.lib.ids import read_uuid
from langbot.lib.secrets import SecretUnreadableError
from platforms.adapters import registry
from platforms.adapters.base import Adapter, AdapterError
from platforms.adapters.registry import UnknownAdapterError
from platforms.models import Bot
from runners.platform_actions import PlatformAction
from runners.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger(__name__)


class BotActions:
    """What runs may have bots do. Thread-safe; keeps no state."""

    def can_edit(self, bot_id: UUID) -> bool:
        """Whether messages of the bot can be edited."""
        editing = [one.kind for one in registry.adapters() if one.supports_edit]
        if not editing:
            return False
        return Bot.objects.filter(public_id=bot_id, adapter__in=editing).exists()

    def workspace_bot(self, workspace_id: int, bot_id: str) -> UUID | None:
        """Return an enabled bot of the workspace; ids of others are unknown here."""
        wanted = read_uuid(bot_id)
        if wanted is None:
            return None
        mine = Bot.objects.filter(workspace_id=workspace_id, enabled=True)
        return mine.filter(public_id=wanted).values_list("public_id", flat=True).first()

    def prepare(self, bot_id: UUID, action: str) -> PlatformAction:
        """Return what does `action` on the bot's platform; raises ProtocolError."""
        bot, adapter = _load(bot_id)
        if action not in adapter.actions:
            message = f"{adapter.kind} bots cannot do {action[:50]}"
            raise ProtocolError(ErrorCode.NOT_AVAILABLE, message)
        return partial(_act, bot, adapter, action)


def _act(
    bot: Bot, adapter: Adapter, action: str, params: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return dict(adapter.act(bot, action, params))
    except AdapterError as error:
        raise _failure(error) from None
    except Exception as error:  # an adapter's bug; nobody knows what it did
        logger.exception("adapter %s failed to %s", adapter.kind, action)
        message = "the adapter failed, and nobody knows whether it had its effect"
        raise ProtocolError(ErrorCode.OUTCOME_UNKNOWN, message) from error


def _load(bot_id: UUID) -> tuple[Bot, Adapter]:
    try:
        bot = Bot.objects.get(public_id=bot_id, enabled=True)
        return bot, registry.get(bot.adapter)
    except (Bot.DoesNotExist, UnknownAdapterError):
        message = "the bot is gone, or its platform is not installed"
        raise ProtocolError(ErrorCode.NOT_FOUND, message) from None
    except SecretUnreadableError:
        message = "the bot's secrets cannot be read"
        raise ProtocolError(ErrorCode.UNAVAILABLE, message) from None


def _failure(error: AdapterError) -> ProtocolError:
    code = ErrorCode.OUTCOME_UNKNOWN if error.ambiguous else ErrorCode.PLATFORM_ERROR
    return ProtocolError(code, str(error), retryable=not error.permanent)
