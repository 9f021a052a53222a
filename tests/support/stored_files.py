"""Files that are there already."""

from datetime import datetime

from artifacts import blobs
from artifacts.models import Artifact
from artifacts.store import Named
from langbot.core.models import Workspace


def store_bytes(  # noqa: PLR0913 - an artifact has this many independent facts
    workspace: Workspace,
    data: bytes,
    *,
    type: str,
    mime_type: str,
    name: str,
    source: str,
    conversation: Named | None = None,
    run: Named | None = None,
    expires_at: datetime | None = None,
) -> Artifact:
    """Store bytes and their row."""
    return Artifact.objects.create(
        workspace=workspace,
        type=type[:50],
        mime_type=mime_type[:150],
        name=name[:255],
        size=len(data),
        sha256=blobs.write(data),
        source=source,
        storage=Artifact.Storage.BLOB,
        conversation_id_ref=conversation.public_id if conversation else None,
        run_id_ref=run.public_id if run else None,
        expires_at=expires_at,
    )
