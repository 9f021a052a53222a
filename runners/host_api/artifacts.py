"""artifact_metadata, artifact_read, artifact_read_range: a conversation's files.

Released SDKs have no such calls; any plugin may make them (contract, Runner protocol).
"""

import base64
from typing import Any
from uuid import UUID

from pydantic import Field

from artifacts.models import Artifact
from artifacts.store import ArtifactMissingError, find_in_conversation, read_range
from langbot.lib.conf import limits
from runners.host_api.calls import CallData, HostCall
from runners.protocol.errors import ErrorCode, ProtocolError

_WHOLE_BYTES = 1024 * 1024  # what a read without a limit returns at most (LB-76)
_RANGE_BYTES = 65_536  # what a range without a length is (LB-76)
_OFFSETS = 2**53  # beyond it JSON numbers are no whole numbers


class Named(CallData):
    artifact_id: str


class Read(Named):
    offset: int = Field(default=0, ge=0, lt=_OFFSETS)
    limit: int | None = Field(default=None, gt=0)


class ReadRange(Named):
    offset: int = Field(default=0, ge=0, lt=_OFFSETS)
    length: int | None = Field(default=None, gt=0)


async def artifact_metadata(call: HostCall) -> dict[str, Any]:
    """Return what is known of a file; never where its bytes lie (LB-92)."""
    artifact_id = call.read(Named).artifact_id
    artifact = await call.database(_find, call, artifact_id)
    return wire_metadata(artifact)


async def artifact_read(call: HostCall) -> dict[str, Any]:
    """Return bytes from `offset` on: at most 1 MiB, or up to 10 MiB with `limit`."""
    data = call.read(Read)
    return await _read(call, data, data.limit or _WHOLE_BYTES)


async def artifact_read_range(call: HostCall) -> dict[str, Any]:
    """Return `length` bytes from `offset` on, 64 KiB by default, at most 10 MiB."""
    data = call.read(ReadRange)
    return await _read(call, data, data.length or _RANGE_BYTES)


async def _read(call: HostCall, data: Read | ReadRange, length: int) -> dict[str, Any]:
    length = min(length, limits().artifact_read_bytes)
    return await call.database(_answer, call, data.artifact_id, data.offset, length)


def _answer(
    call: HostCall, artifact_id: str, offset: int, length: int
) -> dict[str, Any]:
    artifact = _find(call, artifact_id)
    try:
        content = read_range(artifact, offset, length)
    except ArtifactMissingError:
        message = "the bytes of this artifact are not held here"
        raise ProtocolError(ErrorCode.NOT_FOUND, message) from None
    return {
        "artifact_id": str(artifact.public_id),
        "mime_type": artifact.mime_type or None,
        "size_bytes": artifact.size,
        "offset": offset,
        "length": len(content),
        "content_base64": base64.b64encode(content).decode(),
        "file_key": None,
        "has_more": offset + len(content) < artifact.size,
    }


def _find(call: HostCall, artifact_id: str) -> Artifact:
    """Return a file of the run's own conversation; others do not exist to it."""
    facts = call.facts
    try:
        return find_in_conversation(
            facts.workspace_id, UUID(facts.conversation_public_id), artifact_id
        )
    except ArtifactMissingError:
        message = "there is no such artifact in this conversation"
        raise ProtocolError(ErrorCode.NOT_FOUND, message) from None


def wire_metadata(artifact: Artifact) -> dict[str, Any]:
    """Return the fields of `ArtifactMetadata`; SDKs that have it refuse any other."""
    run, expires = artifact.run_id_ref, artifact.expires_at
    conversation = artifact.conversation_id_ref
    return {
        "artifact_id": str(artifact.public_id),
        "artifact_type": artifact.type,
        "mime_type": artifact.mime_type or None,
        "name": artifact.name or None,
        "size_bytes": artifact.size,
        "sha256": artifact.sha256 or None,
        "source": artifact.source,
        "conversation_id": str(conversation) if conversation else None,
        "run_id": str(run) if run else None,
        "runner_id": None,
        "created_at": int(artifact.created_at.timestamp()),
        "expires_at": int(expires.timestamp()) if expires else None,
        "metadata": artifact.metadata,
    }
