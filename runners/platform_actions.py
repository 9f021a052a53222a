"""The port to platforms, which live in the app above: what a bot can do beyond words.

Messages are no matter of this port: they are deliveries of the ledger.
"""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID


class PlatformAction(Protocol):
    """Does one action of a bot. Blocks on the network for well under a minute.

    It touches no database, since it runs on any thread. Raises ProtocolError:
    `outcome_unknown` where it may have happened, `platform.error` for a refusal.
    """

    def __call__(self, params: Mapping[str, Any], /) -> dict[str, Any]: ...


class PlatformActions(Protocol):
    """What the app with the bots implements and registers in its `ready`."""

    def can_edit(self, bot_id: UUID) -> bool:
        """Whether the bot's messages can be replaced; no query where no bot can."""

    def workspace_bot(self, workspace_id: int, bot_id: str) -> UUID | None:
        """Return an enabled bot of the workspace; None for any other id."""

    def prepare(self, bot_id: UUID, action: str) -> PlatformAction:
        """Return what does the action; reads the database, sends nothing.

        Raises ProtocolError: `not_available` for what the platform does not offer.
        """


_port: dict[str, PlatformActions] = {}


def register_platform_actions(actions: PlatformActions) -> None:
    """Say who acts on platforms; called when Django starts."""
    _port["actions"] = actions


def platform_actions() -> PlatformActions | None:
    """Return the implementation; None in a project without platforms."""
    return _port.get("actions")
