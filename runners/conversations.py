"""Which conversation a place is, and the ones that runs open by writing there."""

import hashlib
from urllib.parse import quote
from uuid import UUID

from runners.choices import ConversationKind
from runners.models import Conversation

KEY_LENGTH = 500


def place_key(place: str, external_id: str, thread: str = "", actor: str = "") -> str:
    """Return the canonical string of a place: `bot:<id>` or `api`, and what is in it.

    Long ones are hashed, so that two different places never share one.
    """
    parts = [place, *(quote(part, safe="") for part in (external_id, thread, actor))]
    key = "/".join(parts)
    if len(key) > KEY_LENGTH:
        return f"{place}/sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return key


def known_conversation(workspace_id: int, bot_id: UUID, target_id: str) -> int | None:
    """Return the key of the conversation that a bot has with a person or a group.

    That is the newest one of the platform's id, never a thread within it; None where
    there is none.
    """
    known = Conversation.objects.filter(
        workspace_id=workspace_id, bot_id=bot_id, external_id=target_id, thread=""
    )
    return known.order_by("-pk").values_list("pk", flat=True).first()


def target_conversation(workspace_id: int, bot_id: UUID, target_id: str) -> int:
    """Return the key of the known conversation, or of a new one.

    Where nobody has written to the bot yet, answers are admitted to the new one
    (`admission.conversation_key`).
    """
    latest = known_conversation(workspace_id, bot_id, target_id)
    if latest is not None:
        return latest
    row, _ = Conversation.objects.get_or_create(
        workspace_id=workspace_id,
        key=place_key(f"bot:{bot_id}", target_id),
        defaults={
            "kind": ConversationKind.CHAT,
            "bot_id": bot_id,
            "external_id": target_id,
        },
    )
    return row.pk
