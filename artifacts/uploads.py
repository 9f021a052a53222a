"""Files that people and programs send: streamed to disk, never whole in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.db import transaction

from artifacts import blobs
from artifacts.encoding import checked_type
from artifacts.models import Artifact
from artifacts.store import Named
from langbot.core.audit import record_change
from langbot.core.models import Workspace


@dataclass(frozen=True, slots=True)
class Arrived:
    """Bytes that are stored, and what they are; a row makes them an artifact."""

    sha256: str
    size: int
    mime_type: str


def receive(chunks: Iterable[bytes], mime_type: str) -> Arrived:
    """Store a stream. Without a row it is an orphan, which the sweep removes."""
    pieces = iter(chunks)
    first = next(pieces, b"")
    digest, size = blobs.write_chunks(chain([first], pieces))
    return Arrived(digest, size, checked_type(mime_type, first))


def keep(  # noqa: PLR0913 - an artifact has this many independent facts (LB-92)
    workspace: Workspace,
    arrived: Arrived,
    *,
    author: str,
    type: str = "",
    name: str = "",
    conversation: Named | None = None,
    expires_at: datetime | None = None,
) -> Artifact:
    """Make an artifact of what has arrived, with an audit entry.

    Without a type it is `image` or `file`.
    """
    artifact = Artifact(
        workspace=workspace,
        type=type or ("image" if arrived.mime_type.startswith("image/") else "file"),
        mime_type=arrived.mime_type,
        name=name,
        size=arrived.size,
        sha256=arrived.sha256,
        source=Artifact.Source.PLATFORM,
        storage=Artifact.Storage.BLOB,
        conversation_id_ref=conversation.public_id if conversation else None,
        expires_at=expires_at,
    )
    with transaction.atomic():
        artifact.save()
        record_change(author, artifact, {})
    return artifact
