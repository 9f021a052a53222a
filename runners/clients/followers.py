"""One connection of a person to a run, whichever web process holds it (LO-01).

Each new one is announced in the run's stream of followers, which every process reads
that holds one. What comes there after one's own announcement is newer, so of any number
exactly the last one stays. While Redis is away this holds within each process only.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from langbot.lib.exchange import Exchange
from langbot.lib.ids import uuid7
from langbot.lib.redis import FAILURES, run_followers, stream_client
from langbot.lib.streams import Entry, StreamReader

logger = logging.getLogger(__name__)

Key = tuple[UUID, str]  # a run and a person

_KEPT = 100  # announcements of a run
_LIFE_SECONDS = 3600
_TRY_SECONDS, _RETRY_SECONDS = 3.0, 1.0


class Follower(Protocol):
    """A connection that ends when its person has a newer one."""

    async def replaced(self) -> None:
        """Close it; there is a newer one."""


@dataclass(slots=True, eq=False)
class _Member:
    follower: Follower
    name: str = field(default_factory=lambda: uuid7().hex)
    is_announced: bool = False  # what is announced from here on is newer


@dataclass(slots=True)
class _Run:
    """Who follows a run here, and which announcements were read."""

    members: dict[str, _Member] = field(default_factory=dict)
    # An announcement whose answer was lost is made again, and says nothing new.
    seen: deque[str] = field(default_factory=lambda: deque(maxlen=2 * _KEPT))


class Followers:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self._runs: dict[UUID, _Run] = {}
        self._reader = StreamReader()
        self._exchange = Exchange(stream_client())
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, key: Key, follower: Follower) -> None:
        """Note a connection; the person's other one is closed, here or elsewhere."""
        run_id, person = key
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run()
            self._reader.watch(
                run_followers(run_id),
                "0-0",
                lambda entries: self._heard(run_id, entries),
            )
        earlier = run.members.get(person)
        member = run.members[person] = _Member(follower)
        self._spawn(self._announce(key, member))
        if earlier is not None:
            await earlier.follower.replaced()

    def leave(self, key: Key, follower: Follower) -> None:
        """Forget a connection, unless a newer one took its place."""
        run_id, person = key
        run = self._runs.get(run_id)
        member = run.members.get(person) if run is not None else None
        if run is None or member is None or member.follower is not follower:
            return
        del run.members[person]
        if not run.members:
            del self._runs[run_id]
            self._reader.unwatch(run_followers(run_id))

    async def close(self) -> None:
        """Stop reading; for the end of a loop."""
        await self._reader.stop()
        await self._exchange.aclose()

    def _holds(self, key: Key, member: _Member) -> bool:
        run = self._runs.get(key[0])
        return run is not None and run.members.get(key[1]) is member

    async def _announce(self, key: Key, member: _Member) -> None:
        stream = run_followers(key[0])
        fields = ("p", key[1], "n", member.name)
        add = ("XADD", stream, "MAXLEN", "~", _KEPT, "*", *fields)
        while self._holds(key, member):
            try:
                async with asyncio.timeout(_TRY_SECONDS):
                    await self._exchange([add, ("EXPIRE", stream, _LIFE_SECONDS)])
            except FAILURES as error:
                logger.warning("a follower waits for redis: %s", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def _heard(self, run_id: UUID, entries: list[Entry]) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        for _, fields in entries:
            name = fields[b"n"].decode()
            if name not in run.seen:
                run.seen.append(name)
                self._compare(run.members.get(fields[b"p"].decode()), name)

    def _compare(self, member: _Member | None, name: str) -> None:
        if member is None:
            return
        if member.name == name:
            member.is_announced = True
        elif member.is_announced:
            self._spawn(member.follower.replaced())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Followers] = WeakKeyDictionary()


def followers() -> Followers:
    """Return the connections of the running loop; a process has one loop."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        found = _by_loop[loop] = Followers()
    return found
