"""The port to bots, which live in the app above: how the ledger's id finds one."""

from collections.abc import Callable
from uuid import UUID

from runners.admission import BotRef

FindBot = Callable[[UUID], BotRef | None]

_port: dict[str, FindBot] = {}


def register_bots(find: FindBot) -> None:
    """Say how bots are found; called in the `ready` of the app that has them."""
    _port["find"] = find


def find_bot(public_id: UUID) -> BotRef | None:
    """Return the bot of this id, or None when it is gone."""
    return _port["find"](public_id) if "find" in _port else None
