"""A person's names and words leave the audit log, and its chains still hold.

A rewritten entry no longer has the digest that its seal keeps. So an entry of the same
chain lists the new digests (`audit_chain.rewritten_digests`): that acts took place, by
whom under another name, and when, stays provable; what was erased is nowhere.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.db.models import Q

from langbot.core.audit_chain import REWRITTEN, digest_of
from langbot.core.authors import Author
from langbot.core.models import AuditLog, Workspace
from langbot.lib.ids import UUID_TEXT
from langbot.lib.models import lock_rows

_TOGETHER = 500
_LENGTHS = {"actor": 200, "object_id": 100}  # the columns'
_COLUMNS = (*_LENGTHS, "before", "after")


@dataclass(frozen=True, slots=True)
class Traces:
    """What tells of a person: words, whole texts, and the ids of rows that are gone.

    A word is replaced where it stands alone: `user:7` is no part of `user:77`. A whole
    text only where there is nothing else, as an account's name is in many a sentence.
    """

    pseudonym: str
    words: frozenset[str]
    objects: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def with_objects(self, more: frozenset[str]) -> "Traces":
        """Return the same with more ids of rows."""
        return replace(self, objects=self.objects | more)

    def without_words(self) -> "Traces":
        """Return the same without the words: only rows of the person are known."""
        return replace(self, words=frozenset(), whole=frozenset())

    def in_text(self, text: str) -> str:
        """Return the text with the pseudonym in place of each word."""
        if text in self.whole:
            return self.pseudonym
        for word in sorted(self.words, key=len, reverse=True):
            if word in text:
                pattern = rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
                text = re.sub(pattern, self.pseudonym, text)
        return text

    def are_in(self, value: Any) -> bool:
        """Whether a value names the person or one of their rows."""
        ids = UUID_TEXT.findall(str(value))
        return not self.objects.isdisjoint(ids) or self.in_value(value) != value

    def in_value(self, value: Any) -> Any:
        """Return a JSON value with the same done to all of its texts and names."""
        if isinstance(value, str):
            return self.in_text(value)
        if isinstance(value, list):
            return [self.in_value(one) for one in value]
        if isinstance(value, dict):
            return {self.in_text(k): self.in_value(v) for k, v in value.items()}
        return value


def erase_from_audit(
    traces: Traces, author: Author, workspace: Workspace | None = None
) -> Iterator[int]:
    """Rewrite every entry that tells of the person; yields how many, some at once.

    Entries about rows that are gone keep nothing of what these said. Idempotent. With
    a workspace no others are touched.
    """
    told = [row.pk for row in entries_about(traces, workspace)]
    for start in range(0, len(told), _TOGETHER):
        yield _rewrite(told[start : start + _TOGETHER], traces, author)


def entries_about(
    traces: Traces, workspace: Workspace | None = None
) -> Iterator[AuditLog]:
    """Yield the entries (of a workspace) that tell of the person, oldest first."""
    rows = AuditLog.objects.filter(_here(workspace)).order_by("pk")
    for row in rows.iterator(_TOGETHER):
        if row.action != REWRITTEN and _changes(row, traces):
            yield row


def _here(workspace: Workspace | None) -> Q:
    if workspace is None:
        return Q()
    itself = {"object_type": "langbot_core.workspace"}
    return Q(workspace=workspace) | Q(object_id=str(workspace.public_id), **itself)


def _changes(row: AuditLog, traces: Traces) -> dict[str, Any]:
    """Return the columns that an entry has to change."""
    values = {name: traces.in_value(getattr(row, name)) for name in _COLUMNS}
    values |= {name: values[name][:length] for name, length in _LENGTHS.items()}
    if row.object_id in traces.objects:
        for name in ("before", "after"):
            values[name] = None if getattr(row, name) is None else {"erased": True}
    return {name: new for name, new in values.items() if new != getattr(row, name)}


@transaction.atomic
def _rewrite(keys: Iterable[int], traces: Traces, author: Author) -> int:
    digests: dict[int | None, dict[str, str]] = {}
    for row in lock_rows(AuditLog.objects.filter(pk__in=list(keys))):
        changes = _changes(row, traces)
        if changes:
            AuditLog.objects.filter(pk=row.pk).rewrite(**changes)
            for name, value in changes.items():
                setattr(row, name, value)
            key, digest = digest_of(row)
            digests.setdefault(row.workspace_id, {})[str(key)] = digest
    for workspace_id, entries in digests.items():
        AuditLog.objects.create(
            workspace_id=workspace_id,
            actor=traces.in_text(author)[:200],
            source=author.source[:100],
            action=REWRITTEN,
            object_type="host",
            object_id="",
            after={"person": traces.pseudonym, "entries": entries},
        )
    return sum(map(len, digests.values()))
