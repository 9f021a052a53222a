"""run_list and run_events_page: the runs of a conversation (`wire.md` §6).

A run sees itself. Others of its conversation say what the history says, so it takes
the permission to read that; what was before the last reset, or was replaced since, is
gone for all.
"""

from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from pydantic import Field

from langbot.lib.conf import limits
from runners.choices import RunStatus
from runners.host_api.calls import CallData, HostCall
from runners.host_api.cursors import NO_END, key_of, page_of
from runners.host_api.runs import SHOWN, epoch, wire_rows
from runners.ledger.context import visible_runs
from runners.ledger.fence import NewEvent
from runners.models import AgentRun, RunEvent
from runners.protocol.errors import ErrorCode, ProtocolError

# Large columns that no run of a page shows.
_LARGE = ("snapshot", "event__input", "event__data", "event__delivery")


class RunsRequest(CallData):
    conversation_id: str | None = None
    statuses: list[str] | None = Field(default=None, max_length=20)
    before_cursor: str | int | None = None
    limit: int = Field(default=50, ge=1)


class EventsRequest(CallData):
    target_run_id: str
    before_cursor: str | int | None = None
    after_cursor: str | int | None = None
    limit: int = Field(default=50, ge=1)
    direction: Literal["backward", "forward"] = "forward"


async def run_list(call: HostCall) -> dict[str, Any]:
    """Return runs of the run's own conversation, newest first."""
    data = call.read(RunsRequest)
    return await call.database(_run_page, call.facts.conversation_id, data)


async def run_events_page(call: HostCall) -> dict[str, Any]:
    """Return a page of a run's ledger; forward is oldest first."""
    data = call.read(EventsRequest)
    return await call.database(_events_of, call, data)


def _run_page(conversation_id: int, data: RunsRequest) -> dict[str, Any]:
    return run_page(visible_runs(conversation_id), data)


def run_page(rows: QuerySet[AgentRun], data: RunsRequest) -> dict[str, Any]:
    """Return a page of these runs, newest first."""
    if data.statuses:
        rows = rows.filter(status__in=[_status(one) for one in data.statuses])
    limit = min(data.limit, limits().history_page)
    page = rows.filter(pk__lt=key_of(data.before_cursor, NO_END)).order_by("-pk")
    found = list(page.select_related(*SHOWN).defer(*_LARGE)[: limit + 1])
    shown = zip(found, wire_rows(found[:limit]), strict=False)
    items = [{"id": run.pk, **row} for run, row in shown]
    has_more = len(found) > limit
    return page_of(items, has_more=has_more, total_count=rows.count(), name="id")


def _events_of(call: HostCall, data: EventsRequest) -> dict[str, Any]:
    return events_page(readable(call, data.target_run_id), data)


def events_page(run_key: int, data: EventsRequest) -> dict[str, Any]:
    """Return a page of a run's ledger."""
    rows = RunEvent.objects.filter(
        run_id=run_key,
        seq__lt=_seq(key_of(data.before_cursor, NO_END)),
        seq__gt=_seq(key_of(data.after_cursor, 0)),
    )
    limit = min(data.limit, limits().history_page)
    ordered = rows.order_by("seq" if data.direction == "forward" else "-seq")
    found = list(ordered[: limit + 1])
    items = [wire_run_event(event, data.target_run_id) for event in found[:limit]]
    return page_of(items, has_more=len(found) > limit, name="sequence")


def wire_run_event(event: RunEvent, run_id: str) -> dict[str, Any]:
    """Return an event of the ledger as runners read it (`AgentRunEvent`)."""
    return {"id": event.pk, **wire_event(event.seq, event, run_id)}


def wire_event(seq: int, event: RunEvent | NewEvent, run_id: str) -> dict[str, Any]:
    """Return an event with the number that it has in the ledger."""
    return {
        "run_id": run_id,
        "sequence": seq,
        "type": str(event.type),
        "data": event.data,
        "usage": event.usage,
        "created_at": epoch(event.created_at),
        "source": "host" if event.runner_sequence is None else "runner",
        "metadata": {},
    }


def readable(call: HostCall, run_id: str) -> int:
    """Return the key of a run that this one may read; raises not_found."""
    if run_id == str(call.facts.public_id):
        return call.facts.pk
    if call.facts.access.apis.get("run_list", False):
        rows = visible_runs(call.facts.conversation_id).filter(public_id=_uuid(run_id))
        key = rows.values_list("pk", flat=True).first()
        if key is not None:
            return key
    raise _unknown()


def _status(name: str) -> str:
    # A runtime that has claimed a run and one that carries it are the same to us.
    return RunStatus.RUNNING if name == "claimed" else name


def _seq(key: int) -> int:
    return min(key, 2**31 - 1)  # the column's


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown() from None


def _unknown() -> ProtocolError:
    message = "there is no such run in this conversation"
    return ProtocolError(ErrorCode.NOT_FOUND, message)
