"""What a handler may do to the run in memory: its ledger, its files, its time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from runners.engine.active import ActiveRun
from runners.ledger.fence import NewEvent
from runners.ledger.journal import CallKey
from runners.ledger.runs import RunEvent
from runners.protocol.errors import ErrorCode, ProtocolError

if TYPE_CHECKING:
    from runners.engine.engine import Engine


class Carrier(Protocol):
    """The run of one host call, as its worker carries it."""

    async def tell(self, event: NewEvent) -> None:
        """Add an event to the ledger, once for this call however often it comes."""

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return references to files of the run; raises `not_found` for others."""


class EngineCarrier:
    """Uses the engine's loop only.

    The event is in the batch that lets the call pass the run's cursor, so that it is
    written even where this worker dies: its adopter answers the call again.
    """

    def __init__(self, engine: "Engine", run: ActiveRun, key: CallKey) -> None:
        self._engine, self._run, self._key = engine, run, key

    async def tell(self, event: NewEvent) -> None:
        run, call = self._run, self._key.plugin_seq_id
        if call in run.told:
            return
        run.told.add(call)
        event.data["call"] = call
        if run.log.is_resumed and await self._engine.database(
            was_told, self._key, event.type
        ):
            return
        if not run.is_closed and run.log.ending is None:
            run.log.tell(event)
            self._engine.writer.mark(run)

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        files = self._run.log.files
        references, unknown = files.named(names)
        if unknown:
            message = f"{unknown[0][:100]} is no file of this run"
            raise ProtocolError(ErrorCode.NOT_FOUND, message)
        self._engine.after_feed(self._run)
        await files.until_written(references)
        return references


def was_told(key: CallKey, kind: str) -> bool:
    """Whether the ledger has the event of a call from a worker before."""
    events = RunEvent.objects.filter(
        run_id=key.run_id,
        type=kind,
        invocation=key.invocation,
        data__call=key.plugin_seq_id,
    )
    return events.exists()
