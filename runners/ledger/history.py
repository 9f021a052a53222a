"""Pages of a conversation's transcript; cost does not grow with its length."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from django.db.models import BigIntegerField, QuerySet, Subquery

from langbot.lib.prepared import PreparedQuery
from runners.choices import NOT_FOR_MODELS
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.runs import AgentRun

# Large columns of the joined rows, such as a run's snapshot, are not part of a page.
_READ = {"event": {"id", "event_id", "thread"}, "run": {"id", "public_id"}}
_UNREAD = [
    "words",
    *(
        f"{name}__{field.attname}"
        for name, model in (("event", EventLog), ("run", AgentRun))
        for field in model._meta.concrete_fields
        if field.attname not in _READ[name]
    ),
]

_NEVER = 2**63 - 1  # no seq is as high


@dataclass(frozen=True, slots=True)
class Page:
    """Items in page order, and the seq that continues in either direction."""

    items: list[TranscriptItem]
    has_more: bool

    @property
    def next_seq(self) -> int | None:
        """Where the following page begins; None on the last one."""
        return self.items[-1].seq if self.items and self.has_more else None

    @property
    def previous_seq(self) -> int | None:
        """The seq of the first item."""
        return self.items[0].seq if self.items else None


def transcript_page(
    conversation_id: int,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
    direction: Literal["backward", "forward"] = "backward",
    for_people: bool = False,
) -> Page:
    """Return one page: backward newest first, forward oldest first (wire 6)."""
    query = _page_query(limit + 1, direction, for_people=for_people)
    found = query(
        conversation_id,
        _NEVER if before is None else _bounded(before),
        0 if after is None else _bounded(after),
    )
    return Page(found[:limit], len(found) > limit)


def with_origin(rows: QuerySet[TranscriptItem]) -> QuerySet[TranscriptItem]:
    """Join what `wire_item` reads of an item's event and run, and nothing else."""
    return rows.select_related("event", "run").defer(*_UNREAD)


def _bounded(seq: int) -> int:
    return max(0, min(seq, _NEVER))


@lru_cache(maxsize=64)
def _page_query(
    limit: int, direction: str, *, for_people: bool
) -> PreparedQuery[TranscriptItem]:
    def build(conversation: Any, before: Any, after: Any) -> QuerySet[TranscriptItem]:
        rows = with_origin(
            TranscriptItem.objects.current().filter(
                conversation=conversation, seq__lt=before, seq__gt=after
            )
        )
        if not for_people:
            known = Conversation.objects.filter(pk=conversation)
            since = Subquery(known.values("context_seq"))
            rows = rows.exclude(item_type__in=NOT_FOR_MODELS).filter(seq__gt=since)
        return rows.order_by("seq" if direction == "forward" else "-seq")[:limit]

    return PreparedQuery(build, BigIntegerField(), BigIntegerField(), BigIntegerField())


def wire_item(item: TranscriptItem, conversation_id: str) -> dict[str, Any]:
    """Return an item as runners read it (`wire.md` §6 TranscriptItem)."""
    content = _whole_content(item)
    return {
        "transcript_id": str(item.public_id),
        "event_id": item.event.event_id if item.event else "",
        "conversation_id": conversation_id,
        "thread_id": item.event.thread or None if item.event else None,
        "role": item.role,
        "item_type": item.item_type,
        "content": item.text,
        "content_json": _message(item.role, content),
        "attachment_refs": item.artifact_refs,
        "seq": item.seq,
        "cursor": str(item.seq),
        "created_at": int(item.created_at.timestamp()),
        "run_id": str(item.run.public_id) if item.run else None,
        "metadata": item.metadata,
    }


def _message(role: str, content: Any) -> dict[str, Any] | None:
    """Return the whole message; rows of tools are kept as one (LB-90)."""
    if isinstance(content, dict):
        return content
    return {"role": role, "content": content} if content else None


def _whole_content(item: TranscriptItem) -> Any:
    """Return plain text as one string: `text` is cut, this is not (LB-90)."""
    parts = item.content
    if isinstance(parts, list) and all(part.get("type") == "text" for part in parts):
        return "".join(part.get("text") or "" for part in parts)
    return parts
