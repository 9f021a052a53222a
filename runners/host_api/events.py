"""event_get and event_page: what happened in a conversation (`wire.md` §6, LB-75)."""

from functools import lru_cache
from typing import Any

from django.db.models import BigIntegerField, CharField, QuerySet
from pydantic import Field

from langbot.lib.conf import limits
from langbot.lib.prepared import PreparedQuery
from runners.host_api.calls import CallData, HostCall
from runners.host_api.cursors import NO_END, key_of, page_of
from runners.ledger.context import visible_events
from runners.models import EventLog
from runners.protocol.errors import ErrorCode, ProtocolError

_READ = (
    "event_id",
    "type",
    "time",
    "trigger_source",
    "bot_id",
    "thread",
    "actor",
    "subject",
    "input_summary",
    "raw_ref",
    "metadata",
    "created_at",
    "workspace__public_id",
)
_TYPES = 50  # of one filter


class EventRequest(CallData):
    event_id: str = Field(min_length=1, max_length=200)


class PageRequest(CallData):
    conversation_id: str | None = None
    event_types: list[str] | None = Field(default=None, max_length=_TYPES)
    before_cursor: str | int | None = None
    limit: int = Field(default=50, ge=1)


async def event_get(call: HostCall) -> dict[str, Any]:
    """Return one event of the run's own conversation."""
    data = call.read(EventRequest)
    event = await call.database(_event.first, call.facts.conversation_id, data.event_id)
    if event is None:
        message = "there is no such event in this conversation"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return wire_event(event, call.facts.conversation_public_id)


async def event_page(call: HostCall) -> dict[str, Any]:
    """Return a page of the run's own conversation, newest first."""
    data = call.read(PageRequest)
    before, types = key_of(data.before_cursor, NO_END), data.event_types or []
    limit = min(data.limit, limits().history_page)
    query = _page_query(limit + 1, len(types))
    found = await call.database(query, call.facts.conversation_id, before, *types)
    own = call.facts.conversation_public_id
    items = [wire_event(event, own) for event in found[:limit]]
    return page_of(items, has_more=len(found) > limit)


def wire_event(event: EventLog, conversation_id: str) -> dict[str, Any]:
    """Return an event as runners read it (`AgentEventRecord`); no input, no payload."""
    subject, reference = event.subject or {}, event.raw_ref or {}
    return {
        "event_id": event.event_id,
        "event_type": event.type,
        "event_time": int(event.time.timestamp()),
        "source": event.trigger_source,
        "bot_id": str(event.bot_id) if event.bot_id else None,
        "workspace_id": str(event.workspace.public_id),
        "conversation_id": conversation_id,
        "thread_id": event.thread or None,
        "actor_type": _text(event.actor.get("type")),
        "actor_id": _text(event.actor.get("id")),
        "actor_name": _text(event.actor.get("name")),
        "subject_type": _text(subject.get("type")),
        "subject_id": _text(subject.get("id")),
        "input_summary": event.input_summary or None,
        "input_ref": None,
        "raw_ref": _text(reference.get("ref_id")),
        "seq": event.pk,
        "cursor": str(event.pk),
        "created_at": int(event.created_at.timestamp()),
        "metadata": event.metadata,
    }


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _visible(conversation: Any) -> QuerySet[EventLog]:
    rows = visible_events(conversation)
    return rows.select_related("workspace").only(*_READ).order_by("-pk")


_event = PreparedQuery(
    lambda conversation, event_id: _visible(conversation).filter(event_id=event_id)[:1],
    BigIntegerField(),
    CharField(),
)


@lru_cache(maxsize=64)
def _page_query(limit: int, types: int) -> PreparedQuery[EventLog]:
    def build(conversation: Any, before: Any, *names: Any) -> QuerySet[EventLog]:
        rows = _visible(conversation).filter(pk__lt=before)
        return (rows.filter(type__in=names) if names else rows)[:limit]

    fields = [CharField() for _ in range(types)]
    return PreparedQuery(build, BigIntegerField(), BigIntegerField(), *fields)
