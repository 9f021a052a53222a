"""Finding runs by what their sender wrote on them, however many runs there are.

A run's row has its metadata. Which members it has is noted beside it as digests: keys
are the sender's own, and no index of either database covers keys that nobody knows.
"""

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import QuerySet

from langbot.lib.prepared import PreparedInsert
from runners.ledger.runs import AgentRun


class RunMetadata(models.Model):
    """One member of a run's metadata."""

    run = models.ForeignKey(AgentRun, models.CASCADE, related_name="+")
    digest = models.UUIDField(editable=False)

    class Meta:
        constraints = [
            # also the index behind the filter: newest runs of a digest
            models.UniqueConstraint(
                fields=["digest", "run"], name="langbot_run_metadata_once"
            )
        ]

    def __str__(self) -> str:
        return str(self.digest)


_FEW = 20_000  # runs; their keys are listed in some 20 ms

_insert_members = PreparedInsert(RunMetadata)


def note_metadata(run: AgentRun) -> None:
    """Note the members of a new run's metadata; nothing where it has none."""
    found = members(run.metadata)
    digests = {digest_of(run.workspace_id, name, text) for name, text in found}
    _insert_members([RunMetadata(run=run, digest=one) for one in digests])


def with_member(
    runs: QuerySet[AgentRun], workspace_id: int, name: str, text: str
) -> QuerySet[AgentRun]:
    """Keep the runs of a workspace whose metadata says this.

    Asks at once how many there are, up to a limit: one short query.
    """
    digest = digest_of(workspace_id, name, text)
    found = RunMetadata.objects.filter(digest=digest)
    if found[: _FEW + 1].count() <= _FEW:
        return runs.filter(pk__in=found.values("run"))
    # So many that the newest runs have it: a list of all their keys costs more.
    return runs.filter(models.Exists(found.filter(run=models.OuterRef("pk"))))


def digest_of(workspace_id: int, name: str, text: str) -> UUID:
    """Return what stands for a member: 128 bits, so that no two are ever alike."""
    content = json.dumps([workspace_id, name, text]).encode()
    return UUID(bytes=blake2b(content, digest_size=16).digest())


def members(metadata: Any) -> Iterator[tuple[str, str]]:
    """Return names and values as questions spell them; lists and objects have none."""
    for name, value in metadata.items() if isinstance(metadata, dict) else ():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, bool | int | float):
            yield name, json.dumps(value)


__all__ = ["RunMetadata", "digest_of", "note_metadata", "with_member"]
