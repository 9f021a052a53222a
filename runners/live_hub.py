"""Fans the live stream of each run out to its subscribers, one reader per process.

A subscriber's buffer is bounded. What does not fit is not kept: the subscriber is
marked as behind and reads the ledger, which has everything.
"""

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from langbot.lib.conf import limits
from langbot.lib.db import DATABASE_FAILURES, DatabaseExecutor
from langbot.lib.redis import run_live
from langbot.lib.streams import Entry, StreamReader
from runners.choices import ENDS, TERMINAL, EventType
from runners.models import AgentRun

logger = logging.getLogger(__name__)

BUFFER_EVENTS = 500
BUFFER_CHARACTERS = 256 * 1024
SLOW_SECONDS = 5.0  # AG-51

db = DatabaseExecutor("live")


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event as streams carry it; `text` is its JSON on one line."""

    seq: int
    document: dict[str, Any]
    text: str

    @property
    def ends(self) -> bool:
        """Whether nothing follows."""
        return self.document["type"] in ENDS

    @property
    def is_hidden(self) -> bool:
        """Whether who only follows is not shown this."""
        return is_hidden(self.document["type"], self.document["data"])


def is_hidden(event_type: str, data: dict[str, Any]) -> bool:
    """Whether the agent's policy keeps an event from who only follows (AG-61)."""
    return event_type == EventType.REASONING_DELTA and "hidden" in data


class Subscription:
    """One subscriber's buffer. Filled and emptied on the same loop."""

    def __init__(self, *, behind: bool, cuts: int = 0) -> None:
        self.behind = behind  # the ledger holds what this buffer does not
        self.cuts = cuts  # how often listeners had been sent away when it began
        self.is_dropped = False
        self._events: deque[LiveEvent] = deque()
        self._characters = 0
        self._full_since: float | None = None
        self._ready = asyncio.Event()

    def push(self, events: list[LiveEvent]) -> None:
        """Add events, or note that they did not fit."""
        for event in events:
            if not self._has_room(event):
                self.behind = True
                self._full_since = self._full_since or time.monotonic()
                break
            self._events.append(event)
            self._characters += len(event.text)
        self.drop_if_slow()
        self._ready.set()

    def _has_room(self, event: LiveEvent) -> bool:
        if self._full_since is not None:
            return False  # a later event would leave a gap
        if not self._events:
            return True
        size = self._characters + len(event.text)
        return len(self._events) < BUFFER_EVENTS and size <= BUFFER_CHARACTERS

    def drop_if_slow(self) -> None:
        """Give up on a subscriber whose buffer stayed full for 5 s (AG-51)."""
        if (
            self._full_since is not None
            and time.monotonic() - self._full_since > SLOW_SECONDS
        ):
            self.drop()

    def drop(self) -> None:
        """End the subscription; it may be begun again from its last `seq`."""
        self.is_dropped = True
        self._events.clear()
        self._ready.set()

    def fall_behind(self) -> None:
        """Make the subscriber read the ledger."""
        self.behind = True
        self._ready.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to do; False when the time is up."""
        if self._ready.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[LiveEvent]:
        """Return and remove what is buffered."""
        events = list(self._events)
        self._events.clear()
        self._characters = 0
        self._full_since = None
        self._ready.clear()
        return events


@dataclass(slots=True)
class _Topic:
    """The subscribers of one run, and how far its stream was heard."""

    run_key: int
    heard: int
    subscriptions: set[Subscription] = field(default_factory=set)


class Hub:
    """The subscriptions of one event loop."""

    def __init__(self) -> None:
        self._reader = StreamReader(self._all_behind)
        self._topics: dict[UUID, _Topic] = {}
        self._poll_task: asyncio.Task[None] | None = None

    def subscribe(
        self, run_id: UUID, run_key: int, position: int, cuts: int = 0
    ) -> Subscription:
        """Deliver what follows `position`; the caller unsubscribes.

        `cuts` is the run's `stream_cuts` when the caller looked; a later one ends it.
        """
        topic = self._topics.get(run_id)
        subscription = Subscription(behind=topic is not None, cuts=cuts)
        if topic is None:
            topic = self._topics[run_id] = _Topic(run_key, position)
            self._reader.watch(
                run_live(run_id),
                f"{position}-0",
                lambda entries: self._deliver(run_id, entries),
            )
        topic.subscriptions.add(subscription)
        if self._poll_task is None or self._poll_task.done():
            self._poll_task = asyncio.create_task(self._poll())
        return subscription

    def unsubscribe(self, run_id: UUID, subscription: Subscription) -> None:
        """Forget a subscription; the last one of a run ends its reading."""
        topic = self._topics.get(run_id)
        if topic is None:
            return
        topic.subscriptions.discard(subscription)
        if not topic.subscriptions:
            del self._topics[run_id]
            self._reader.unwatch(run_live(run_id))

    @property
    def subscribers(self) -> int:
        """How many subscriptions there are."""
        return sum(len(topic.subscriptions) for topic in self._topics.values())

    async def close(self) -> None:
        """Stop reading and polling."""
        if self._poll_task is not None:
            self._poll_task.cancel()
        await self._reader.stop()

    def _deliver(self, run_id: UUID, entries: list[Entry]) -> None:
        topic = self._topics.get(run_id)
        if topic is None:
            return
        events = [event for event in map(_parse, entries) if event is not None]
        if events:
            topic.heard = max(topic.heard, events[-1].seq)
        for subscription in topic.subscriptions:
            subscription.push(events)
            if len(events) < len(entries):
                subscription.fall_behind()

    def _all_behind(self) -> None:
        for topic in self._topics.values():
            for subscription in topic.subscriptions:
                subscription.fall_behind()

    async def _poll(self) -> None:
        """Notice what the stream did not tell: Redis away, entries lost or trimmed.

        One query for all runs; it ends with the last subscription.
        """
        while self._topics:
            await asyncio.sleep(limits().poll_seconds)
            topics = {topic.run_key: topic for topic in self._topics.values()}
            try:
                positions = await db(_positions, list(topics))
            except DATABASE_FAILURES as error:
                logger.warning("live streams cannot poll: %s", type(error).__name__)
                continue
            for run_key, (last_seq, status, cuts) in positions.items():
                _notice(topics[run_key], last_seq, ended=status in TERMINAL)
                _send_away(topics[run_key], cuts)


def _send_away(topic: _Topic, cuts: int) -> None:
    for subscription in topic.subscriptions:
        if subscription.cuts < cuts:
            subscription.drop()


def _notice(topic: _Topic, last_seq: int, *, ended: bool) -> None:
    missed = last_seq > topic.heard
    topic.heard = max(topic.heard, last_seq)
    for subscription in topic.subscriptions:
        subscription.drop_if_slow()
        if missed or ended:
            subscription.fall_behind()


def _positions(run_keys: list[int]) -> dict[int, tuple[int, str, int]]:
    rows = AgentRun.objects.filter(pk__in=run_keys).order_by()
    columns = ("pk", "last_seq", "status", "stream_cuts")
    return {pk: tuple(rest) for pk, *rest in rows.values_list(*columns)}


def _parse(entry: Entry) -> LiveEvent | None:
    """Return an entry's event; None sends its subscribers to the ledger.

    A publisher may leave `e` out where the event is too large for the stream.
    """
    entry_id, fields = entry
    if b"e" not in fields:
        return None
    try:
        text = fields[b"e"].decode()
        document = json.loads(text)
        return LiveEvent(int(entry_id.partition(b"-")[0]), document, text)
    except ValueError:
        logger.warning("dropped a live entry that is no event")
        return None


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running loop; a process has one loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub()
    return found
