"""The one door to stored bytes: rows with metadata over content-addressed blobs."""

from collections.abc import Iterable
from datetime import datetime
from typing import BinaryIO, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from artifacts import blobs
from artifacts.models import Artifact
from langbot.core.audit import record_act, record_change, state_of
from langbot.core.models import Workspace
from langbot.core.retention import due_before, old_rows

# A blob without a row may belong to a transaction that has not committed yet.
ORPHAN_SECONDS = 3600.0
_BATCH = 500


class Named(Protocol):
    """A row of a higher layer that artifacts name by public id."""

    @property
    def public_id(self) -> UUID: ...


class ArtifactMissingError(LookupError):
    """There is no such artifact: unknown, expired, foreign or without bytes here."""


def find_artifact(workspace: Workspace, public_id: UUID | str) -> Artifact:
    """Return an unexpired artifact of the workspace; raises ArtifactMissingError."""
    return _found(unexpired().filter(workspace=workspace), public_id)


def find_in_conversation(
    workspace_id: int, conversation_id: UUID, public_id: UUID | str
) -> Artifact:
    """Return an unexpired artifact of a conversation; raises ArtifactMissingError."""
    rows = unexpired().filter(
        workspace_id=workspace_id, conversation_id_ref=conversation_id
    )
    return _found(rows, public_id)


def claim_for(artifact: Artifact, conversation: Named | None) -> bool:
    """Make a file that is nobody's this conversation's; False for another one's."""
    here = conversation.public_id if conversation is not None else None
    if artifact.conversation_id_ref is None and here is not None:
        free = Artifact.objects.filter(pk=artifact.pk, conversation_id_ref=None)
        free.update(conversation_id_ref=here)
        artifact.refresh_from_db(fields=["conversation_id_ref"])
    return artifact.conversation_id_ref == here


def unexpired() -> QuerySet[Artifact]:
    """Return the artifacts that still exist: expired ones do not, swept or not."""
    return Artifact.objects.filter(still_exists())


def still_exists() -> Q:
    """Return the condition that rows which have not expired meet."""
    return Q(expires_at=None) | Q(expires_at__gt=Now())


def change_expiry(
    artifact: Artifact, expires_at: datetime | None, *, author: str
) -> None:
    """Set when the artifact ends, or that it does not; with an audit entry."""
    before = state_of(artifact)
    artifact.expires_at = expires_at
    with transaction.atomic():
        artifact.save(update_fields=["expires_at"])
        record_change(author, artifact, before)


def remove_artifact(artifact: Artifact, *, author: str) -> None:
    """Remove the row, with an audit entry; the sweep removes bytes nobody else has."""
    with transaction.atomic():
        record_act(author, "deleted", artifact, before=state_of(artifact))
        artifact.delete()


def _found(rows: QuerySet[Artifact], public_id: UUID | str) -> Artifact:
    try:
        found = rows.filter(public_id=UUID(str(public_id))).first()
    except ValueError:
        found = None
    if found is None:
        raise ArtifactMissingError(str(public_id))
    return found


def read_range(artifact: Artifact, offset: int, length: int) -> bytes:
    """Return up to `length` bytes from `offset` on; raises ArtifactMissingError."""
    with open_artifact(artifact) as file:
        file.seek(offset)
        return file.read(length)


def open_artifact(artifact: Artifact) -> BinaryIO:
    """Open the bytes for reading; the caller closes them.

    Raises ArtifactMissingError when expired (LB-93) or when they are not held here.
    """
    expired = artifact.expires_at is not None and artifact.expires_at <= timezone.now()
    if expired or artifact.storage != Artifact.Storage.BLOB:
        raise ArtifactMissingError(str(artifact.public_id))
    try:
        return blobs.open_blob(artifact.sha256)
    except blobs.BlobMissingError:
        raise ArtifactMissingError(str(artifact.public_id)) from None


def purge_due() -> int:
    """Remove expired rows, and those without an end that the workspace keeps no longer.

    Their blobs go with them where nobody else uses them; returns the rows removed.
    """
    removed = purge_expired()
    for workspace, before in due_before("file_days").items():
        endless = Artifact.objects.filter(workspace=workspace, expires_at=None)
        for keys in old_rows(endless, before):
            removed += remove_rows(endless.filter(pk__in=keys))
    return removed


def purge_expired() -> int:
    """Remove expired rows and the blobs only they used; returns the rows removed."""
    removed = 0
    expired = Artifact.objects.filter(expires_at__lte=Now()).order_by("pk")
    while keys := list(expired.values_list("pk", flat=True)[:_BATCH]):
        removed += remove_rows(Artifact.objects.filter(pk__in=keys))
    return removed


def remove_rows(
    rows: QuerySet[Artifact], unused_seconds: float = ORPHAN_SECONDS
) -> int:
    """Remove rows and the blobs only they used, if nobody wrote those for so long."""
    found = list(rows.values_list("pk", "sha256"))
    removed = Artifact.objects.filter(pk__in=[key for key, _ in found]).delete()[0]
    _discard_unreferenced({digest for _, digest in found if digest}, unused_seconds)
    return removed


def purge_orphans() -> int:
    """Remove blobs that no row names, and leftovers of killed processes."""
    removed = blobs.remove_leftovers(ORPHAN_SECONDS)
    batch: list[str] = []
    for digest in blobs.digests():
        batch.append(digest)
        if len(batch) == _BATCH:
            removed += _discard_unreferenced(batch)
            batch.clear()
    return removed + _discard_unreferenced(batch)


def _discard_unreferenced(
    digests: Iterable[str], unused_seconds: float = ORPHAN_SECONDS
) -> int:
    wanted = set(digests)
    used = Artifact.objects.filter(sha256__in=wanted).values_list("sha256", flat=True)
    return sum(
        blobs.discard(digest, unused_seconds)
        for digest in wanted - set(used.distinct())
    )
