"""Finding bots for the apps below."""

from uuid import UUID

from platforms.models import Bot
from runners.admission import BotRef


def bot_ref(public_id: UUID) -> BotRef | None:
    """Return a bot as the ledger names it, or None when it is gone."""
    found = Bot.objects.filter(public_id=public_id).values_list("public_id", "slug")
    row = found.first()
    return BotRef(*row) if row is not None else None
