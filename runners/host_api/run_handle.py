"""What a handler may do to the run in memory: its ledger, its files, its time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from runners.choices import EventType
from runners.engine.active import ActiveRun, Awaited
from runners.ledger import pausing
from runners.ledger.fence import NewEvent
from runners.ledger.journal import CallKey
from runners.ledger.runs import RunEvent
from runners.models import PendingAction
from runners.protocol.errors import ErrorCode, ProtocolError

if TYPE_CHECKING:
    from runners.engine.engine import Engine

T = TypeVar("T")

_LOOK_SECONDS = 0.1  # whether effects have ended
_READ_AGAIN_SECONDS = 1.0


class RunHandle(Protocol):
    """The run of one host call, as its worker carries it."""

    async def tell(self, event: NewEvent) -> None:
        """Add an event to the ledger, once for this call however often it comes."""

    async def written(self) -> None:
        """Wait until all that the runner said before this call is in the ledger."""

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return references to files of the run; raises `not_found` for others."""

    async def ask(self, action: PendingAction) -> None:
        """Ask a person; returns when the question is committed."""

    async def note_decision(self, action: PendingAction) -> None:
        """Add a decision to the ledger, once."""

    def stopped_clock(
        self, since: float | None, spent: float
    ) -> AbstractContextManager[None]:
        """Stop the run's time while a call waits (`runners.host_api.waiting`)."""

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T | None:
        """Wait for what comes from outside; None when the time to wait is over."""

    async def until_within(
        self, look: Callable[[], Awaitable[T | None]], seconds: Callable[[], float]
    ) -> T | None:
        """Wait as `until` does, while `seconds()` are left; the clock goes on."""

    def effect(self) -> AbstractAsyncContextManager[None]:
        """Have an effect outside our database; the run is not parked meanwhile.

        Does not begin in a run that is being parked.
        """

    async def until_effects_end(self, seconds: float) -> None:
        """Wait until no call of the run has an effect under way, at most so long."""

    def give_up_waiting(self) -> None:
        """Park the run, or end it where its runner cannot be resumed."""


class EngineRunHandle:
    """Uses the engine's loop only.

    The event is in the batch that lets the call pass the run's cursor, so that it is
    written even where this worker dies: its adopter answers the call again.
    """

    def __init__(self, engine: "Engine", run: ActiveRun, key: CallKey) -> None:
        self._engine, self._run, self._key = engine, run, key

    async def tell(self, event: NewEvent) -> None:
        run, call = self._run, self._key.plugin_seq_id
        if (call, event.type) in run.told:
            return
        run.told.add((call, event.type))
        event.data["call"] = call
        if run.log.is_resumed and await self._engine.database(
            was_told, self._key, event.type
        ):
            return
        if not run.is_closed and run.log.ending is None:
            run.log.tell(event)
            self._engine.writer.mark(run)

    async def written(self) -> None:
        run = self._run
        last = run.log.events[-1] if run.log.events else run.in_flight
        if last is not None:
            await self._committed(last)

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        files = self._run.log.files
        references, unknown = files.named(names)
        if unknown:
            message = f"{unknown[0][:100]} is no file of this run"
            raise ProtocolError(ErrorCode.NOT_FOUND, message)
        self._engine.after_feed(self._run)
        await files.until_written(references)
        return references

    async def ask(self, action: PendingAction) -> None:
        run = self._run
        event = NewEvent(EventType.ACTION_REQUESTED, pausing.requested(action))
        run.log.actions.append(action)
        run.log.tell(event)
        await self._committed(event)

    async def _committed(self, event: NewEvent) -> None:
        run = self._run
        committed: asyncio.Future[tuple[int, NewEvent]] = (
            asyncio.get_running_loop().create_future()
        )
        seq_id = self._key.plugin_seq_id
        run.awaited.append(Awaited(seq_id, event, committed, may_outlive=False))
        self._engine.writer.mark(run)
        await committed

    async def note_decision(self, action: PendingAction) -> None:
        run, data = self._run, pausing.described(action)
        database = self._engine.database
        if run.log.is_resumed and await database(pausing.was_decided, action):
            return  # a worker before has told of it
        if not run.is_closed and run.log.ending is None:
            run.log.tell(NewEvent(EventType.ACTION_RESOLVED, data))
            self._engine.writer.mark(run)

    @contextmanager
    def stopped_clock(self, since: float | None, spent: float) -> Iterator[None]:
        clock = self._run.clock
        clock.begin(since, spent)
        try:
            yield
        finally:
            clock.end()

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T | None:
        clock, waits = self._run.clock, self._engine.waits
        return await waits.until(
            self._run.facts.public_id, look, lambda: clock.seconds_left
        )

    async def until_within(
        self, look: Callable[[], Awaitable[T | None]], seconds: Callable[[], float]
    ) -> T | None:
        return await self._engine.waits.until(self._run.facts.public_id, look, seconds)

    @asynccontextmanager
    async def effect(self) -> AsyncIterator[None]:
        run = self._run
        if run.pause is not None and not run.is_closed:
            await asyncio.Future()  # until the run is closed
        with run.effects.under_way():
            yield

    async def until_effects_end(self, seconds: float) -> None:
        latest, effects = time.monotonic() + seconds, self._run.effects
        if self._run.log.is_resumed:  # calls behind this one are just read again
            await asyncio.sleep(_READ_AGAIN_SECONDS)
        while min(effects.seconds_left(), latest - time.monotonic()) > 0:
            await asyncio.sleep(_LOOK_SECONDS)

    def give_up_waiting(self) -> None:
        run = self._run
        if run.facts.access.capabilities.get("resume", False):
            run.park("approval")
        else:
            message = "nobody decided in time, and the runner cannot go on later"
            code = ErrorCode.APPROVAL_NOT_RESUMABLE
            run.log.fail(code, message, retryable=True)
        self._engine.writer.mark(run)


def was_told(key: CallKey, kind: str) -> bool:
    """Whether the ledger has the event of a call from a worker before."""
    events = RunEvent.objects.filter(
        run_id=key.run_id,
        type=kind,
        invocation=key.invocation,
        data__call=key.plugin_seq_id,
    )
    return events.exists()
