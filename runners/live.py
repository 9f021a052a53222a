"""Following a run: its ledger first, then what comes live, without gap or repeat.

The ledger is the truth and is read at the start, at a gap, every 15 s and whenever
the live side may have missed something; Redis only makes it fast.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, QuerySet, TextField, UUIDField
from django.db.models.functions import Cast, Length

from langbot.lib.prepared import PreparedQuery
from runners.choices import TERMINAL
from runners.ledger.fence import live_document
from runners.ledger.turns import queued_event
from runners.live_hub import LiveEvent, Subscription, db, hub
from runners.models import AgentRun, RunEvent

HEARTBEAT_SECONDS = 15.0  # contract, SSE
_PAGE = 200  # rows
_PAGE_CHARACTERS = 2 * 1024 * 1024  # of JSON; results may be 1 MiB each
_FEW = 8  # rows that are read without asking for their sizes first
_TRIES, _TRY_SECONDS = 3, 0.1  # AG-48


async def follow(
    run_id: UUID, after: int = 0
) -> AsyncGenerator[dict[str, Any] | None, None]:
    """Yield the run's events after `after`; None every 15 s without any.

    Ends after the terminal event. Ends before it, too, for a subscriber that stayed
    slow for 5 s (AG-51) or was sent away (AG-55): it may follow again from its last
    `seq`. An unknown run yields nothing.
    """
    async with aclosing(follow_batches(run_id, after)) as batches:
        async for batch in batches:
            if not batch:
                yield None
            for event in batch:
                yield event.document


async def follow_batches(
    run_id: UUID, after: int = 0
) -> AsyncGenerator[list[LiveEvent], None]:
    """Like `follow`, everything that waits at once; an empty list is the heartbeat."""
    async with aclosing(_follow_all(run_id, after)) as batches:
        async for batch in batches:
            for part in _shown(batch):
                yield part


async def _follow_all(
    run_id: UUID, after: int
) -> AsyncGenerator[list[LiveEvent], None]:
    first = await _find(run_id, after)
    if first.run_key is None:
        return
    position = after
    async with aclosing(_ledger(run_id, position, first)) as pages:
        async for page in pages:
            if page is None:
                return
            position = page[-1].seq
            yield page
    live = _follow_live(run_id, first.run_key, position, first.cuts)
    async with aclosing(live) as batches:
        async for batch in batches:
            yield batch


def _shown(batch: list[LiveEvent]) -> list[list[LiveEvent]]:
    """Return the batch without what is hidden; nothing where that was all of it."""
    shown = [event for event in batch if not event.is_hidden]
    return [shown] if shown or not batch else []


async def follow_live(
    run_id: UUID, run_key: int, position: int
) -> AsyncGenerator[list[LiveEvent], None]:
    """Yield what comes after `position`, up to which the ledger has been read."""
    async with aclosing(_follow_live(run_id, run_key, position)) as batches:
        async for batch in batches:
            for part in _shown(batch):
                yield part


async def _follow_live(
    run_id: UUID, run_key: int, position: int, cuts: int = 0
) -> AsyncGenerator[list[LiveEvent], None]:
    subscription = hub().subscribe(run_id, run_key, position, cuts)
    try:
        live = _live(run_id, subscription, position)
        async with aclosing(live) as batches:
            async for batch in batches:
                yield batch
    finally:
        hub().unsubscribe(run_id, subscription)


async def _live(
    run_id: UUID, subscription: Subscription, position: int
) -> AsyncGenerator[list[LiveEvent], None]:
    heartbeat = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS
    while not subscription.is_dropped:
        batch = contiguous(subscription.take(), position, subscription)
        if batch:
            position = batch[-1].seq
            yield batch
            if batch[-1].ends:
                return
        if subscription.behind and not batch:
            subscription.behind = False
            async with aclosing(_ledger(run_id, position)) as pages:
                async for page in pages:
                    if page is None:
                        return
                    position = page[-1].seq
                    yield page
        if subscription.behind:
            continue
        left = heartbeat - asyncio.get_running_loop().time()
        if left <= 0 or not await subscription.wait(left):
            heartbeat = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS
            subscription.behind = True
            yield []


def contiguous(
    events: list[LiveEvent], position: int, subscription: Subscription
) -> list[LiveEvent]:
    """Return what follows `position` without a gap; a gap sends to the ledger."""
    fresh = []
    for event in events:
        if event.seq <= position:
            continue
        if event.seq != position + 1:
            subscription.behind = True
            break
        fresh.append(event)
        position = event.seq
    return fresh


async def _find(run_id: UUID, after: int) -> "Page":
    for _attempt in range(_TRIES - 1):
        page = await db(read_page, run_id, after)
        if page.run_key is not None:
            return page
        await asyncio.sleep(_TRY_SECONDS)
    return await db(read_page, run_id, after)


async def _ledger(
    run_id: UUID, position: int, first: "Page | None" = None
) -> AsyncGenerator[list[LiveEvent] | None, None]:
    """Yield pages after `position`; None once the run has ended and all was read."""
    while True:
        page = await db(read_page, run_id, position) if first is None else first
        first = None
        if page.events:
            yield page.events
            position = page.events[-1].seq
        if page.is_end:
            yield None
        if page.is_end or page.is_last or not page.events:
            return


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a ledger: all there were (`is_last`) or will be (`is_end`)."""

    run_key: int | None  # None: there is no such run, or retention took it
    events: list[LiveEvent]
    is_last: bool
    is_end: bool
    cuts: int = 0  # the run's `stream_cuts`


_position_of = PreparedQuery(
    lambda run_id: (
        AgentRun.objects.filter(public_id=run_id)
        .order_by()
        .values_list("pk", "status", "last_seq", "stream_cuts")
    ),
    UUIDField(),
)
_COLUMNS = ("seq", "type", "data", "created_at")
_few_events = PreparedQuery(
    lambda run, after: (
        RunEvent.objects.filter(run=run, seq__gt=after)
        .order_by("seq")
        .values_list(*_COLUMNS)[:_FEW]
    ),
    BigIntegerField(),
    BigIntegerField(),
)


def read_page(run_id: UUID, after: int) -> Page:
    """Return the next events of a run.

    A page is bounded in rows and in size, so that a reader that stops in the middle
    holds little.
    """
    # The row first: what had ended by now is complete in the second query.
    found = _position_of.first(run_id)
    if found is None:
        return Page(None, [], is_last=True, is_end=True)
    run_key, status, last_seq, cuts = found
    if last_seq - after <= _FEW:
        rows = _few_events(run_key, after)
    else:
        later = RunEvent.objects.filter(run_id=run_key, seq__gt=after).order_by("seq")
        rows = list(later.filter(seq__lte=_page_end(later)).values_list(*_COLUMNS))
    events = [event_of(run_id, *row) for row in rows]
    is_last = (events[-1].seq if events else after) >= last_seq
    is_end = is_last and status in TERMINAL
    return Page(run_key, events, is_last, is_end, cuts)


def _page_end(rows: QuerySet[RunEvent]) -> int:
    """Return the last `seq` that a page may hold; the first row always fits."""
    size, last = 0, 0
    length = Length(Cast("data", TextField()))
    for seq, characters in rows.values_list("seq", length)[:_PAGE]:
        size += characters
        if last and size > _PAGE_CHARACTERS:
            break
        last = seq
    return last


def opening_of(run: AgentRun) -> LiveEvent:
    """Return the first event of a run that was just admitted, without reading it."""
    first = queued_event(run)
    return event_of(run.public_id, 1, first.type, first.data, first.created_at)


def event_of(
    run_id: UUID, seq: int, kind: str, data: dict[str, Any], created_at: datetime
) -> LiveEvent:
    """Return a ledger row as streams carry it (contract, SSE)."""
    document = live_document(run_id, seq, kind, data, created_at)
    return LiveEvent(seq, document, json.dumps(document, ensure_ascii=False))


def document_of(run_id: UUID, row: RunEvent) -> dict[str, Any]:
    """Return the members of an event."""
    return live_document(run_id, row.seq, row.type, row.data, row.created_at)
