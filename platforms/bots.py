"""Finding bots for the apps below."""

from uuid import UUID

from platforms.models import Bot
from runners.admission import BotRef
from runners.bots import BotFacts


def bot_ref(public_id: UUID) -> BotRef | None:
    """Return a bot as the ledger names it, or None when it is gone or archived."""
    bots = Bot.objects.filter(public_id=public_id, archived_at=None)
    found = bots.values_list("public_id", "slug")
    row = found.first()
    return BotRef(*row) if row is not None else None


def bots_of_workspace(workspace_id: int) -> list[BotFacts]:
    """Return a workspace's bots by name, without configuration and secrets."""
    bots = Bot.objects.filter(workspace_id=workspace_id, archived_at=None)
    found = bots.order_by("name", "pk")
    return [
        BotFacts(*row)
        for row in found.values_list("public_id", "name", "adapter", "enabled")
    ]
