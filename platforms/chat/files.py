"""Files of a chat: what its page is told of them, and the addresses their reader gets.

A browser sends no visitor's token with a link or a picture, so each file that the page
shows comes with an address: signed for this visitor, this file and a day.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core import signing

from artifacts.encoding import SHOWN_TYPES
from artifacts.models import Artifact
from artifacts.store import unexpired
from runners.models import TranscriptItem

if TYPE_CHECKING:
    from platforms.chat.visits import Visit

ADDRESS_SECONDS = 24 * 60 * 60

Named = dict[str, dict[str, Any]]  # references by id, in their order


@dataclass(frozen=True, slots=True)
class Address:
    """The file that an address is for, and its reader."""

    bot: UUID
    visitor: UUID
    file: UUID


def shown_files(
    visit: "Visit", rows: Iterable[TranscriptItem]
) -> dict[int, list[dict[str, Any]]]:
    """Return the files of each message by its key, with one query for all of them.

    One that is not held here, or no longer, has no address. What the host itself kept
    (logs and texts in full) is for the people who operate the agent.
    """
    named = {row.pk: _named(row) for row in rows}
    stored = _stored(visit, {key for files in named.values() for key in files})
    return {
        row: [
            _shown(visit, one, stored.get(key))
            for key, one in files.items()
            if key not in stored or stored[key].source != Artifact.Source.SYSTEM
        ]
        for row, files in named.items()
    }


def read_address(address: str) -> Address | None:
    """Return what an address is for; None for a forged or an old one."""
    try:
        claims = _signer().unsign_object(address, max_age=ADDRESS_SECONDS)
        return Address(**{name: UUID(value) for name, value in claims.items()})
    except (signing.BadSignature, TypeError, ValueError):
        return None


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt="langbot.chat.file")


def _named(row: TranscriptItem) -> Named:
    """Return the references of a message, to the files in its words among them."""
    parts = row.content if isinstance(row.content, list) else []
    inline = [one for one in parts if isinstance(one, dict) and "artifact_id" in one]
    found: Named = {}
    for one in (*row.artifact_refs, *inline):
        found.setdefault(str(one.get("artifact_id") or one.get("id")), one)
    return found


def _stored(visit: "Visit", keys: set[str]) -> dict[str, Artifact]:
    ids = [key for key in keys if _is_id(key)]
    if not ids:
        return {}
    workspace = visit.bot.workspace_id
    found = unexpired().filter(workspace=workspace, public_id__in=ids)
    return {str(one.public_id): one for one in found}


def _is_id(key: str) -> bool:
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


def _shown(
    visit: "Visit", named: dict[str, Any], stored: Artifact | None
) -> dict[str, Any]:
    name, size = str(named.get("name") or ""), named.get("size")
    if stored is None:
        known = size if isinstance(size, int) and size > 0 else None
        return {"name": name, "size": known, "is_image": False, "address": None}
    is_here = stored.storage == Artifact.Storage.BLOB
    return {
        "name": stored.name or name,
        "size": stored.size or None,
        "is_image": is_here and stored.mime_type in SHOWN_TYPES,
        "address": _address(visit, stored) if is_here else None,
    }


def _address(visit: "Visit", stored: Artifact) -> str:
    claims = {
        "bot": str(visit.bot.public_id),
        "visitor": str(visit.visitor),
        "file": str(stored.public_id),
    }
    return _signer().sign_object(claims)


__all__ = ["ADDRESS_SECONDS", "Address", "read_address", "shown_files"]
