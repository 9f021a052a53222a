"""The port to bots, which live in the app above: how the ledger's id finds one."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from runners.admission import BotRef


@dataclass(frozen=True, slots=True)
class BotFacts:
    """What plugins may know of a bot."""

    public_id: UUID
    name: str
    adapter: str
    is_enabled: bool


FindBot = Callable[[UUID], BotRef | None]
ListBots = Callable[[int], list[BotFacts]]

_port: dict[str, FindBot] = {}
_lists: dict[str, ListBots] = {}


def register_bots(find: FindBot) -> None:
    """Say how bots are found; called in the `ready` of the app that has them."""
    _port["find"] = find


def find_bot(public_id: UUID) -> BotRef | None:
    """Return the bot of this id, or None when it is gone."""
    return _port["find"](public_id) if "find" in _port else None


def register_bot_list(bots: ListBots) -> None:
    """Say which bots a workspace has; called likewise."""
    _lists["bots"] = bots


def bots_of_workspace(workspace_id: int) -> list[BotFacts]:
    """Return the workspace's bots by name; none in a project without platforms."""
    return _lists["bots"](workspace_id) if "bots" in _lists else []
