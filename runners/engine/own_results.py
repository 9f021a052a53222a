"""Results and endings that a run's plugin brings by a host call, beside its stream."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runners.engine.active import ActiveRun, Awaited
from runners.engine.results import ResultLog
from runners.ledger.fence import NewEvent

if TYPE_CHECKING:
    from runners.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class OwnResults:
    """One call's way into the log of the run that it belongs to, on the engine's loop.

    What it adds is written in a batch like any other, in the order of arrival.
    """

    engine: "Engine"
    run: ActiveRun
    seq_id: int

    async def add(
        self, apply: Callable[[ResultLog], None]
    ) -> tuple[int, NewEvent] | None:
        """Apply to the log and wait until it is committed; None when nothing came.

        Returns the last event of it with its number. The stream's own numbers stay as
        they are: the plugin counts what it streams only.
        """
        run, log = self.run, self.run.log
        number, before = log.last_sequence, _extent(log)
        apply(log)
        log.last_sequence = number
        if log.ending is not None:
            # It has to get its answer first: `HostApi` stops it after that.
            log.is_over_in_plugin = True
            return await self._written(run, None)
        # What the stream brought and is not written yet is no result of this call.
        if _extent(log) == before:
            return None
        return await self._written(run, log.events[-1])

    async def _written(
        self, run: ActiveRun, event: NewEvent | None
    ) -> tuple[int, NewEvent]:
        future: asyncio.Future[tuple[int, NewEvent]] = (
            asyncio.get_running_loop().create_future()
        )
        run.awaited.append(Awaited(self.seq_id, event, future))
        self.engine.writer.mark(run)
        return await future


def _extent(log: ResultLog) -> tuple[int, int]:
    """Return how much waits to be written: events, and the last one's characters."""
    if not log.events:
        return 0, 0
    text = log.events[-1].data.get("text")
    return len(log.events), len(text) if isinstance(text, str) else 0
