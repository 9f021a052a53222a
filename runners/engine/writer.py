"""The ledger writer: one transaction at a time, for all runs that have something.

What arrives while one transaction commits goes into the next, so its size follows
the load by itself.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError

from langbot.lib.db import DatabaseExecutor
from runners.choices import RunStatus
from runners.engine.active import ActiveRun
from runners.ledger.batches import Batch, Ending, Written, end_run, write_batches
from runners.ledger.positions import last_seqs, seq_of
from runners.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from runners.engine.engine import Engine

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_RUNS_PER_TRANSACTION = 200
_WINDOW_SECONDS = 0.025
_LONGEST_SECONDS = 0.1  # ten updates a second still read as a stream
_RETRY_SECONDS = 0.5
# What drivers raise for values that no column takes: SQLite's for large integers and
# lone surrogates are Python's own.
_REFUSED = (DatabaseError, OverflowError, ValueError)


class LedgerWriter:
    """Writes marked runs in order; retries until the database is back."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._database = DatabaseExecutor("ledger", 1)
        self._dirty: dict[int, ActiveRun] = {}
        self._urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def mark(self, run: ActiveRun) -> None:
        """Write the run's news soon; repeating it is free."""
        self._dirty[run.facts.pk] = run
        if _is_urgent(run):
            self._urgent.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())

    async def drain(self) -> None:
        """Wait for everything marked, at most 5 s."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=5.0)

    def close(self) -> None:
        """Drop the thread; nothing is written any more."""
        self._database.shutdown()

    async def transact(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run another ledger transaction on the writer's thread."""
        return await self._database(function, *args, **kwargs)

    async def _write_all(self) -> None:
        only_urgent = False
        while self._dirty:
            chosen = [
                key
                for key, run in self._dirty.items()
                if not only_urgent or _is_urgent(run)
            ]
            runs = [self._dirty.pop(key) for key in chosen[:_RUNS_PER_TRANSACTION]]
            begun = time.monotonic()
            await self._write_or_give_back([run for run in runs if not run.is_closed])
            only_urgent = await self._pause(time.monotonic() - begun)

    async def _pause(self, spent: float) -> bool:
        """Write a quarter of the time at most; True when something cannot wait so long.

        Deltas that arrive meanwhile merge, so load makes transactions larger instead
        of more. A run's first output and its end go out at once.
        """
        seconds = min(max(_WINDOW_SECONDS, 3 * spent), _LONGEST_SECONDS)
        if any(map(_is_urgent, self._dirty.values())):
            return True
        self._urgent.clear()
        try:
            async with asyncio.timeout(seconds):
                return await self._urgent.wait()
        except TimeoutError:
            return False

    async def _write_or_give_back(self, runs: list[ActiveRun]) -> None:
        try:
            await self._write(runs)
        except Exception:  # their results are still in Redis, for an adopter
            logger.exception("runs could not be written")
            self._engine.give_back([run for run in runs if not run.is_closed])

    async def _write(self, runs: list[ActiveRun]) -> None:
        if not runs:
            return
        batches = [run.take_batch() for run in runs]
        try:
            written = await self._write_surely(batches)
        except _REFUSED:
            # One bad batch must not take its neighbours along.
            logger.warning("a transaction of %d runs was refused", len(runs))
            for run, batch in zip(runs, batches, strict=True):
                await self._write_alone(run, batch)
            return
        for run, batch in zip(runs, batches, strict=True):
            self._after(run, batch, written)
        self._engine.start_also(written.promoted, written.deliveries)

    async def _write_alone(self, run: ActiveRun, batch: Batch) -> None:
        try:
            written = await self._write_surely([batch])
        except _REFUSED:
            logger.exception("run %s: batch refused by the database", run.facts.pk)
            await self._give_up(run)
            return
        self._after(run, batch, written)
        self._engine.start_also(written.promoted, written.deliveries)

    async def _give_up(self, run: ActiveRun) -> None:
        """End a run whose results the database does not take."""
        error = "the runner sent what cannot be stored"
        ending = Ending(RunStatus.FAILED, ErrorCode.RUNNER_PROTOCOL_ERROR, error)
        facts = run.facts
        written = await self._engine.until_database(
            end_run, facts.pk, facts.conversation_id, ending
        )
        if written is not None:
            last_seq = written.last_seq[facts.pk]
            outgoing = self._engine.outgoing
            outgoing.publish(facts.public_id, last_seq, [ending.event()])
            self._engine.start_also(written.promoted, written.deliveries)
        self._engine.ended(run)

    async def _write_surely(self, batches: list[Batch]) -> Written:
        try:
            return await self._database(write_batches, batches)
        except (InterfaceError, OperationalError) as error:
            failure: Exception = error
        while True:
            logger.warning("ledger waits for the database: %s", failure)
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                return await self._database(write_unless_committed, batches)
            except (InterfaceError, OperationalError) as error:
                failure = error

    def _after(self, run: ActiveRun, batch: Batch, written: Written) -> None:
        last_seq = written.last_seq.get(run.facts.pk)
        if last_seq is None:
            logger.warning("run %s is no longer ours", run.facts.public_id)
            self._engine.spawn(self._engine.lost(run))
            return
        run.known_seq = last_seq
        run.has_output = True
        run.in_flight = None
        run.log.files.wrote(batch.files)
        first = last_seq - len(batch.events) + 1
        self._engine.outgoing.publish(run.facts.public_id, first, batch.events)
        if run.awaited:
            run.settle(batch, first)
        if batch.ending is not None:
            self._engine.ended(run)
        elif batch.pause is not None:
            self._engine.parked(run)
        elif batch.cursor is not None:
            self._engine.trim(run, batch.cursor)
        self._engine.feed_more(run)


def _is_urgent(run: ActiveRun) -> bool:
    return (
        run.log.ending is not None
        or run.pause is not None
        or bool(run.log.actions)
        or not run.has_output
    )


def write_unless_committed(batches: list[Batch]) -> Written:
    """Write what an earlier try, whose answer was lost, has not committed."""
    seqs = last_seqs({batch.run_id: batch.token for batch in batches})
    committed = {
        batch.run_id: seq
        for batch in batches
        if (seq := _committed(batch, seqs.get(batch.run_id, 0)))
    }
    missing = [batch for batch in batches if batch.run_id not in committed]
    written = write_batches(missing) if missing else Written()
    written.last_seq |= committed
    return written


def _committed(batch: Batch, last_seq: int) -> int:
    """Return the number of the batch's last event, 0 where it is not committed."""
    if last_seq < batch.known_seq + len(batch.events):
        return 0
    if not batch.events:
        return last_seq
    last = batch.events[-1]
    return seq_of(batch.run_id, batch.known_seq, last.type, last.created_at)
