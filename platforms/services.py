"""Changing bots: every change is checked and audited in one transaction.

A bot's settings are one object to people: `Bot.config` and, under their names,
`Bot.secrets`, which are shown as a mask and kept by it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from agents.choices import BindingScope
from agents.config_secrets import keep_masked
from agents.models import AgentBinding
from agents.registry.config_schema import (
    read_schema,
    validate_config,
    without_required_secrets,
)
from langbot.core.audit import changes, record_act, record_change, state_of
from langbot.core.authors import check_secrets
from langbot.lib.models import lock_rows
from langbot.lib.redaction import REDACTED
from platforms.adapters import registry
from platforms.models import Bot
from runners.models import AgentRun, Conversation, Delivery, EventLog

CONTENT = ("slug", "name", "adapter", "enabled")


class BotInUseError(Exception):
    """Bindings name the bot; they have to go first."""

    def __init__(self, bindings: list[AgentBinding]) -> None:
        self.bindings = bindings
        super().__init__(_("Bindings name this bot. Change or delete them first."))


def schema_of(kind: str) -> list[dict[str, Any]]:
    """Return an adapter's config schema; a platform nobody brings has none."""
    try:
        return registry.get(kind).config_schema
    except registry.UnknownAdapterError:
        return []


def settings_of(bot: Bot) -> dict[str, Any]:
    """Return a bot's settings for people: every stored secret is the mask."""
    masks = {name: REDACTED for name, value in _secrets(bot).items() if value}
    return {**bot.config, **masks}


def save_bot(
    bot: Bot,
    *,
    author: str,
    settings: Mapping[str, Any] | None = None,
    secrets_later: bool = False,
) -> Bot:
    """Check and save a bot with an audit entry; what changes nothing writes nothing.

    `settings` replace the stored ones, a mask keeps its secret; None keeps all while
    the platform stays the same. With `secrets_later` missing secrets are kept as they
    are, or entered by people afterwards. Bindings follow a bot to its new slug.
    Raises ValidationError; messages about settings are under `config`.
    """
    with transaction.atomic():
        stored = _lock(bot)
        given = _wanted(bot, stored, settings)
        if secrets_later and stored and stored.adapter == bot.adapter:
            given = {**_masks(stored), **given}
        _set_settings(bot, stored, given, secrets_later=secrets_later)
        _check(bot, stored, author)
        if stored is not None and _everything(bot) == _everything(stored):
            return stored
        if stored is not None:
            bot.archived_at = stored.archived_at  # a stale copy revives nobody
            _move_bindings(stored, bot.slug, author)
        bot.save()
        _record(bot, stored, author)
    return bot


def _record(bot: Bot, stored: Bot | None, author: str) -> None:
    before, after = changes(content_of(stored) if stored else {}, content_of(bot))
    action = "changed" if stored else "created"
    record_act(author, action, bot, before=before, after=after)


def _check(bot: Bot, stored: Bot | None, author: str) -> None:
    bot.full_clean()
    check_secrets(author, _secrets(stored) if stored else {}, _secrets(bot))


def remove_bot(bot: Bot, *, author: str) -> bool:
    """Delete a bot that was never used, archive any other; True when deleted.

    Raises BotInUseError while bindings name it.
    """
    with transaction.atomic():
        stored = _lock(bot)
        if stored is None:
            return True
        bindings = list(bindings_of(stored))
        if bindings:
            raise BotInUseError(bindings)
        if is_used(stored):
            _set_archived(stored, datetime.now(UTC), author, "archived")
            return False
        record_act(author, "deleted", stored, before=content_of(stored))
        Bot.objects.filter(pk=stored.pk).delete()
    return True


def unarchive_bot(bot: Bot, *, author: str) -> Bot:
    """Bring an archived bot back, disabled. Idempotent."""
    with transaction.atomic():
        stored = _lock(bot)
        if stored is not None and stored.archived_at is not None:
            _set_archived(stored, None, author, "unarchived")
    bot.refresh_from_db()
    return bot


def is_used(bot: Bot) -> bool:
    """Whether the ledger names the bot, so that it can be archived but not deleted."""
    ledgers = (Delivery, AgentRun, Conversation, EventLog)
    return bot.last_event_at is not None or any(
        model._default_manager.filter(bot_id=bot.public_id).exists()
        for model in ledgers
    )


def bindings_of(bot: Bot) -> QuerySet[AgentBinding]:
    """Return the bindings that name the bot."""
    return AgentBinding.objects.select_related("agent").filter(
        scope=BindingScope.BOT,
        scope_ref=bot.slug,
        agent__workspace_id=bot.workspace_id,
        agent__archived_at=None,
    )


def content_of(bot: Bot) -> dict[str, Any]:
    """Return what the audit log keeps of a bot, secrets masked."""
    return {
        **{name: getattr(bot, name) for name in CONTENT},
        "config": settings_of(bot),
    }


def _secrets(bot: Bot) -> dict[str, Any]:
    return bot.secrets if isinstance(bot.secrets, dict) else {}


def _masks(bot: Bot) -> dict[str, Any]:
    return dict.fromkeys(_secrets(bot), REDACTED)


def _everything(bot: Bot) -> tuple[Any, ...]:
    content = tuple(getattr(bot, name) for name in CONTENT)
    return (*content, bot.workspace_id, bot.config, _secrets(bot))


def _lock(bot: Bot) -> Bot | None:
    rows = lock_rows(Bot.objects.filter(pk=bot.pk)) if bot.pk else []
    return rows[0] if rows else None


def _wanted(
    bot: Bot, stored: Bot | None, settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    if settings is not None:
        return dict(settings)
    same = stored is not None and stored.adapter == bot.adapter
    return settings_of(stored) if stored is not None and same else {}


def _set_settings(
    bot: Bot, stored: Bot | None, given: dict[str, Any], *, secrets_later: bool
) -> None:
    """Check the settings and part them; a secret belongs to its platform."""
    schema = schema_of(bot.adapter)
    names = {item.name for item in read_schema(schema) if item.is_secret}
    same = stored is not None and stored.adapter == bot.adapter
    if not schema and stored is not None and same:
        return  # its app is not installed now: what is stored stays
    if bot.adapter not in dict(registry.choices()):
        raise ValidationError({"adapter": _("There is no such platform.")})
    known = _secrets(stored) if stored is not None and same else {}
    for name in names & given.keys():
        if given[name] == REDACTED:
            given[name] = known.get(name)
    if secrets_later:
        schema = without_required_secrets(schema)
    config = _checked(schema, keep_masked(given, {}))
    bot.secrets = {name: config.pop(name) for name in names if name in config}
    bot.config = config


def _checked(schema: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    try:
        return validate_config(schema, given)
    except ValidationError as error:
        named = [
            f"{name}: {message}"
            for name, messages in error.message_dict.items()
            for message in messages
        ]
        raise ValidationError({"config": named}) from None


def _move_bindings(stored: Bot, slug: str, author: str) -> None:
    if slug == stored.slug:
        return
    for binding in lock_rows(bindings_of(stored)):
        before = state_of(binding)
        binding.scope_ref = slug
        binding.save(update_fields=["scope_ref"])
        record_change(author, binding, before)


def _set_archived(bot: Bot, at: datetime | None, author: str, action: str) -> None:
    bot.archived_at, bot.enabled = at, False
    bot.save(update_fields=["archived_at", "enabled"])
    record_act(author, action, bot)
