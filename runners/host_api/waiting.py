"""Waiting inside a host call for what comes from outside: a person, a client.

The clock of a run stands still meanwhile, for at most 150 s per invocation in all
(`docs/architecture.md` §6): its deadline moves by what may still be waited when the
first call begins to wait, and back by what was not needed when the last one ends. The
moved deadline is committed with the run's results, so that an adopter knows it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError

from langbot.lib.conf import limits
from runners.engine.snapshot import RunFacts

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 2.0  # a hint may be lost


class WaitClock:
    """How long the calls of one invocation have waited; several wait at once."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._spent = 0.0
        self._open = 0
        self._begun = 0.0
        self._moved = 0.0  # seconds by which the deadline is moved now
        self.is_changed = False  # the deadline is to be written

    @property
    def seconds_left(self) -> float:
        """What may still be waited in this invocation."""
        now = time.time()
        running = now - self._begun if self._open else 0.0
        return max(0.0, limits().approval_wait_seconds - self._spent - running)

    def begin(self, since: float | None = None, spent: float = 0.0) -> None:
        """Stop the run's time; `since` when another worker did that already.

        `spent` is what earlier waits took that this worker has not seen.
        """
        self._spent = max(self._spent, spent)
        if self._open == 0:
            self._begun = time.time() if since is None else since
            self._moved = max(0.0, limits().approval_wait_seconds - self._spent)
            if since is None:
                self._move(self._moved)
        self._open += 1

    def end(self) -> None:
        """Let the run's time go on, once no call waits any more."""
        self._open -= 1
        if self._open == 0:
            waited = min(self._moved, max(0.0, time.time() - self._begun))
            self._spent += waited
            self._move(waited - self._moved)

    def _move(self, seconds: float) -> None:
        if self._facts.deadline_at is not None and seconds:
            self._facts.deadline_at += timedelta(seconds=seconds)
            self.is_changed = True

    def unmoved_seconds(self) -> float:
        """Return what is left of the run's own time while it waits."""
        if self._facts.deadline_at is None:
            return float(limits().run_seconds)
        unused = self.seconds_left if self._open else 0.0
        left = self._facts.deadline_at - datetime.now(UTC)
        return max(0.0, left.total_seconds() - unused)


class Waits:
    """The calls of one worker that wait; used on its loop only."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, set[asyncio.Event]] = {}

    def wake(self, run_id: UUID) -> None:
        """Have the calls of a run look at once."""
        for event in self._waiting.get(run_id, ()):
            event.set()

    async def until(
        self,
        run_id: UUID,
        look: Callable[[], Awaitable[T | None]],
        seconds: Callable[[], float],
    ) -> T | None:
        """Look until there is something; None after `seconds()`, asked anew each time.

        `look` is asked at once, when somebody wakes the run, and every 2 s.
        """
        with self._registered(run_id) as event:
            while True:
                event.clear()
                found = await _looked(look)
                left = seconds()
                if found is not None or left <= 0:
                    return found
                try:
                    async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                        await event.wait()
                except TimeoutError:
                    continue

    @contextmanager
    def _registered(self, run_id: UUID) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting.setdefault(run_id, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[run_id]
            events.discard(event)
            if not events:
                del self._waiting[run_id]


async def _looked(look: Callable[[], Awaitable[T | None]]) -> T | None:
    """Return what there is; nothing while the database is away."""
    try:
        return await look()
    except (InterfaceError, OperationalError) as error:
        logger.warning("a call waits for the database: %s", error)
        return None
