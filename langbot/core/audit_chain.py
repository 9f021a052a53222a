"""The chain over the audit log: a changed, removed or moved row is found and named.

Each workspace has a chain of its own; acts outside of workspaces share one. A sweep
seals what was written since: the seal keeps a digest of every row, and a hash over
them and over the seal before. Its hash is logged too, so that a copy lies outside
the database. Retention removes whole segments and keeps their hash.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction

from langbot.core.models import AuditLog, AuditSeal
from langbot.core.periods import WorkspaceRetention
from langbot.lib.conf import conf

SEGMENT_ROWS = 1000
REWRITTEN = "rewritten"  # the action of an entry that says how others read now
# The columns a digest covers, in a fixed order: all that say what happened.
_COLUMNS = (
    "id",
    "workspace_id",
    "actor",
    "source",
    "action",
    "object_type",
    "object_id",
    "before",
    "after",
    "created_at",
)

logger = logging.getLogger(__name__)
Digest = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain no longer holds; `row` is None when a seal itself is wrong."""

    workspace: str
    segment: int
    row: int | None
    problem: str

    def __str__(self) -> str:
        place = f"entry {self.row}" if self.row is not None else "its seal"
        return (
            f"workspace {self.workspace}, segment {self.segment}: "
            f"{place} {self.problem}"
        )


def seal_all() -> int:
    """Seal every entry that is not sealed yet; returns how many.

    Any number of processes may do it at once; of two, one seals.
    """
    waiting = AuditLog.objects.filter(seal=None).order_by()
    chains = list(waiting.values_list("workspace", flat=True).distinct())
    return sum(map(_seal_chain, chains))


def _seal_chain(workspace_id: int | None) -> int:
    sealed = 0
    try:
        while count := _seal_segment(workspace_id):
            sealed += count
    except IntegrityError:
        logger.info("another process seals this chain")
    return sealed


@transaction.atomic
def _seal_segment(workspace_id: int | None) -> int:
    # The last seal first: rows that another process seals after it was read cost us
    # its number, where rows read before it would be sealed again under the next.
    last = _seals(workspace_id).last()
    waiting = AuditLog.objects.filter(workspace=workspace_id, seal=None)
    rows = list(waiting.order_by("pk")[:SEGMENT_ROWS])
    if not rows:
        return 0
    digests = [digest_of(row) for row in rows]
    number = last.number + 1 if last else 1
    previous = last.hash if last else ""
    seal = AuditSeal.objects.create(
        workspace_id=workspace_id,
        number=number,
        previous_hash=previous,
        hash=_hash(workspace_id, number, previous, digests),
        count=len(rows),
        digests=digests,
        last_at=max(row.created_at for row in rows),
    )
    AuditLog.objects.filter(pk__in=[row.pk for row in rows]).seal_with(seal)
    logger.info(
        "audit sealed", extra={"seal": str(seal), "hash": seal.hash, "rows": len(rows)}
    )
    return len(rows)


def digest_of(row: AuditLog) -> Digest:
    """Return a row's key and the SHA-256 of all that it says."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["created_at"] = row.created_at.astimezone(UTC).isoformat()
    return row.pk, _sha256(values)


def find_breaks() -> Iterator[Break]:
    """Yield the first break of each chain, the first broken row by name."""
    chains = AuditSeal.objects.order_by().values_list("workspace", flat=True).distinct()
    for workspace_id in list(chains):
        found = next(_breaks(workspace_id), None)
        if found is not None:
            yield found


def _breaks(workspace_id: int | None) -> Iterator[Break]:
    number, previous = 0, ""
    for seal in _seals(workspace_id).select_related("workspace").iterator(100):
        name = seal.workspace.slug if seal.workspace else "*"
        number += 1
        if seal.number != number:
            yield Break(name, number, None, "is missing")
        problem = _seal_problem(seal, previous)
        for row, what in _row_problems(seal):
            yield Break(name, seal.number, row, what)
        if problem:
            yield Break(name, seal.number, None, problem)
        number, previous = seal.number, seal.hash


def _seal_problem(seal: AuditSeal, previous: str) -> str:
    if seal.previous_hash != previous:
        return "does not continue the one before"
    if seal.purged_at is not None:
        return ""
    digests = [(row, digest) for row, digest in seal.digests or []]
    wanted = _hash(seal.workspace_id, seal.number, previous, digests)
    same = seal.hash == wanted and seal.count == len(digests)
    return "" if same else "was changed"


def _row_problems(seal: AuditSeal) -> Iterator[tuple[int, str]]:
    """Yield (row, problem) in the order of the segment, then what was slipped in."""
    found = dict(map(digest_of, seal.rows.order_by("pk")))
    rewritten: dict[int, str] | None = None
    for row, digest in seal.digests or []:
        actual = found.pop(row, None)
        if actual is None:
            yield row, "was removed"
        elif actual != digest:
            if rewritten is None:
                rewritten = rewritten_digests(seal.workspace_id)
            if actual != rewritten.get(row):
                yield row, "was changed"
    for row in found:
        yield row, "was added later"


def rewritten_digests(workspace_id: int | None) -> dict[int, str]:
    """Return what rows say since a person was erased from them, as digests.

    The entries that tell so are in the same chain: their own digests are sealed too.
    """
    entries = AuditLog.objects.filter(workspace=workspace_id, action=REWRITTEN)
    found: dict[int, str] = {}
    for after in entries.order_by("pk").values_list("after", flat=True):
        found |= {int(row): digest for row, digest in (after or {})["entries"].items()}
    return found


def unsealed_before(moment: datetime) -> int:
    """Return how many entries of before that moment wait for their seal."""
    return AuditLog.objects.filter(seal=None, created_at__lt=moment).count()


def purge_due() -> int:
    """Remove the segments whose newest entry is too old; returns how many rows went.

    The workspace's retention says how old, without it `LANGBOT["AUDIT_DAYS"]`; 0 keeps
    all. The oldest go first, so that a chain has no hole.
    """
    stored = WorkspaceRetention.objects.exclude(audit_days=None)
    own: dict[int | None, Any] = {one.workspace_id: one.audit_days for one in stored}
    chains = AuditSeal.objects.filter(purged_at=None).order_by()
    places = list(chains.values_list("workspace", flat=True).distinct())
    usual = conf().audit_days
    return sum([_purge_chain(one, own.get(one, usual)) for one in places])


def _purge_chain(workspace_id: int | None, days: int) -> int:
    if not days:
        return 0
    before = datetime.now(UTC) - timedelta(days=days)
    due = _seals(workspace_id).filter(purged_at=None, last_at__lt=before)
    return sum(map(_purge_segment, list(due.values_list("pk", flat=True))))


@transaction.atomic
def _purge_segment(key: int) -> int:
    removed = AuditLog.objects.filter(seal=key).purge()
    AuditSeal.objects.filter(pk=key).empty(datetime.now(UTC))
    return removed


def _seals(workspace_id: int | None) -> Any:
    return AuditSeal.objects.filter(workspace=workspace_id).order_by("number")


def _hash(
    workspace_id: int | None, number: int, previous: str, digests: list[Digest]
) -> str:
    return _sha256([workspace_id, number, previous, digests])


def _sha256(value: Any) -> str:
    text = json.dumps(value, cls=DjangoJSONEncoder, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
