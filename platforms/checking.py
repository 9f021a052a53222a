"""Whether a bot would work: its platform, its settings, and who would answer."""

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents.explaining import explain
from agents.matching import Candidate
from agents.registry.config_schema import validate_config
from platforms.adapters import registry
from platforms.adapters.base import AdapterError
from platforms.events import MESSAGE_RECEIVED
from platforms.models import Bot


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold; `detail` says what is wrong, or what was found."""

    name: str
    ok: bool
    detail: str


def check_bot(bot: Bot) -> list[Check]:
    """Return every check of a bot; may ask its platform, for well under a minute."""
    checks = [_enabled(bot), _platform(bot)]
    if checks[-1].ok:
        checks.append(_settings(bot))
        if checks[-1].ok:
            checks.append(_connection(bot))
    return [*checks, _answer(bot)]


def _enabled(bot: Bot) -> Check:
    detail = _("The bot is enabled.") if bot.enabled else _("The bot is disabled.")
    return Check("enabled", bot.enabled, detail)


def _platform(bot: Bot) -> Check:
    label = dict(registry.choices()).get(bot.adapter)
    if label is None:
        detail = _("No installed app brings this platform.")
        return Check("platform", ok=False, detail=detail)
    return Check("platform", ok=True, detail=str(label))


def _settings(bot: Bot) -> Check:
    schema = registry.get(bot.adapter).config_schema
    secrets = bot.secrets if isinstance(bot.secrets, dict) else {}
    try:
        validate_config(schema, {**bot.config, **secrets})
    except ValidationError as error:
        found = [
            f"{name}: {' '.join(map(str, messages))}"
            for name, messages in error.message_dict.items()
        ]
        return Check("settings", ok=False, detail="; ".join(found))
    return Check("settings", ok=True, detail=_("The settings are complete."))


def _connection(bot: Bot) -> Check:
    try:
        registry.get(bot.adapter).check(bot)
    except AdapterError as error:
        return Check("connection", ok=False, detail=str(error))
    return Check("connection", ok=True, detail=_("The platform takes these settings."))


def _answer(bot: Bot) -> Check:
    found = explain(Candidate(bot.workspace_id, MESSAGE_RECEIVED, bot.slug))
    if found.tied:
        detail = _("Bindings tie for its messages.")
    elif found.winner is None:
        detail = _("No binding answers a plain message of this bot.")
    else:
        detail = _("Answered by %(agent)s.") % {"agent": found.winner.agent}
    return Check("binding", ok=found.winner is not None, detail=detail)
