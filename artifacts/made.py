"""Files that runs make: collected in memory, stored with the ledger batch they are in.

The ledger names them by id and never holds their bytes (LB-59).
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from artifacts import blobs
from artifacts.encoding import checked_type
from artifacts.models import Artifact
from langbot.lib.ids import uuid7
from langbot.lib.prepared import PreparedInsert

logger = logging.getLogger(__name__)

_insert = PreparedInsert(Artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """A file with its bytes, or only what is known of one that lies elsewhere."""

    workspace_id: int
    conversation_id: UUID
    run_id: UUID
    type: str
    source: str
    mime_type: str = ""
    name: str = ""
    content: bytes | None = field(default=None, repr=False)
    size: int = 0
    sha256: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    public_id: UUID = field(default_factory=uuid7)

    def described(self) -> dict[str, Any]:
        """Return what the ledger says of it."""
        return {
            "artifact_id": str(self.public_id),
            "artifact_type": self.type,
            "mime_type": self.mime_type or None,
            "name": self.name or None,
            "size": self.size,
            "sha256": self.sha256 or None,
            "metadata": self.metadata,
        }

    def row(self) -> Artifact:
        """Return the unsaved row."""
        is_here = self.content is not None
        return Artifact(
            public_id=self.public_id,
            workspace_id=self.workspace_id,
            type=self.type,
            mime_type=self.mime_type,
            name=self.name,
            size=self.size,
            sha256=self.sha256,
            source=self.source,
            storage=(
                Artifact.Storage.BLOB if is_here else Artifact.Storage.METADATA_ONLY
            ),
            conversation_id_ref=self.conversation_id,
            run_id_ref=self.run_id,
            metadata=self.metadata,
        )


def with_content(content: bytes, mime_type: str) -> dict[str, Any]:
    """Return the fields of a MadeFile that its bytes decide."""
    return {
        "content": content,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "mime_type": checked_type(mime_type, content),
    }


def reference_of(described: dict[str, Any]) -> dict[str, Any]:
    """Return how a reply and the transcript name a file of the ledger."""
    return {
        "id": described["artifact_id"],
        "artifact_id": described["artifact_id"],
        "type": described["artifact_type"],
        "mime_type": described["mime_type"],
        "name": described["name"],
        "size": described["size"],
    }


def store_contents(files: Iterable[MadeFile]) -> None:
    """Write the bytes; call it before the transaction that inserts the rows.

    Without their rows they are orphans, which the sweep removes. A disk that takes
    nothing must not stop the ledger: the file is then known and cannot be read.
    """
    for file in files:
        if file.content is None:
            continue
        try:
            blobs.write(file.content)
        except OSError:
            logger.exception("the bytes of artifact %s were not stored", file.public_id)


def insert_rows(files: Iterable[MadeFile]) -> None:
    """Insert the rows of files whose bytes are stored."""
    _insert([file.row() for file in files])
