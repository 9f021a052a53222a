"""Batch and finish: two of the three transactions by which results reach the ledger."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from artifacts.made import MadeFile, store_contents
from langbot.lib.models import locking
from langbot.lib.prepared import PreparedLookup
from runners.choices import EDGES, ActionKind, EventType, RunStatus
from runners.ledger.actions import PendingAction
from runners.ledger.conversations import Conversation
from runners.ledger.costs import reported
from runners.ledger.fence import Fence, NewEvent, insert_events, pass_fence
from runners.ledger.finishing import Reply, close_turns
from runners.ledger.made_files import insert_files
from runners.ledger.pausing import Pause, park
from runners.ledger.runs import AgentRun
from runners.ledger.state_store import StateRefusedError, StateWrite, write_state
from runners.ledger.steering import dropped_at_end
from runners.signals import tell_actions


@dataclass(slots=True)
class Ending:
    """How a run ends: its terminal status and what its last event says."""

    status: RunStatus
    code: str = ""
    error: str = ""
    retryable: bool = False
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = None
    reply: Reply | None = None

    def event(self, runner_sequence: int | None = None) -> NewEvent:
        """Return the one terminal event of the run."""
        if self.status == RunStatus.COMPLETED:
            data: dict[str, Any] = {"finish_reason": self.finish_reason}
            return NewEvent(
                EventType.RUN_COMPLETED, data, runner_sequence, usage=self.usage
            )
        data = {"code": self.code, "error": self.error, "retryable": self.retryable}
        return NewEvent(EventType.RUN_FAILED, data, runner_sequence, usage=self.usage)


@dataclass(slots=True)
class Batch:
    """New results of one run, with the inbound position they bring it to."""

    run_id: int
    conversation_id: int
    token: int | None
    events: list[NewEvent]
    invocation: int = 1
    cursor: str | None = None
    runner_sequence: int | None = None
    first_output_at: datetime | None = None
    states: list[StateWrite] = field(default_factory=list)
    files: list[MadeFile] = field(default_factory=list)
    known_seq: int = 0  # a hint for recovery only; the fence allocates
    can_be_steered: bool = False
    ending: Ending | None = None
    actions: list[PendingAction] = field(default_factory=list)
    deadline_at: datetime | None = None  # where the run's has moved
    pause: Pause | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the run goes on as it is."""
        return self.ending is None and self.pause is None

    def fence(self) -> Fence:
        """Return the claim that this batch must still hold."""
        return Fence(
            self.run_id,
            self.token,
            len(self.events),
            self.cursor,
            self.runner_sequence,
            self.first_output_at,
        )


@dataclass(slots=True)
class Written:
    """What one transaction did: new `last_seq` per run, and what to wake."""

    last_seq: dict[int, int] = field(default_factory=dict)
    promoted: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)


def write_batches(batches: Sequence[Batch]) -> Written:
    """Write many runs' results in one transaction; only runs still held are written.

    A batch whose run is missing from `last_seq` was fenced off: its writer must stop.
    """
    store_contents(_files(batches))
    return write_stored(batches)


def write_stored(batches: Sequence[Batch]) -> Written:
    """Do what `write_batches` does, for files whose bytes are stored already.

    For callers with a transaction of their own, which must touch no file.
    """
    with transaction.atomic():
        ending = [batch for batch in batches if batch.ending is not None]
        conversations = _lock_conversations(ending)
        written = Written(
            pass_fence([batch.fence() for batch in batches if batch.is_plain])
        )
        for batch in batches:
            if batch.pause is not None:
                written.last_seq |= park(batch.fence(), batch.pause, batch.invocation)
        for batch in ending:
            _tell_what_is_left(batch)
            written.last_seq |= _pass_ending_fence(batch)
        held = [batch for batch in batches if batch.run_id in written.last_seq]
        _write_states(held)
        insert_files(_files(held))
        insert_events(_numbered(held, written.last_seq))
        _write_waiting(held)
        tell_actions(held)
        closed = [(batch.run_id, batch.ending.reply) for batch in held if batch.ending]
        free = {
            batch.conversation_id: conversations[batch.conversation_id]
            for batch in held
            if batch.ending
        }
        written.promoted, written.deliveries = close_turns(closed, free)
    return written


def end_run(
    run_id: int,
    conversation_id: int,
    ending: Ending,
    sources: Iterable[RunStatus] | None = None,
    said: Callable[[], Reply | None] | None = None,
) -> Written | None:
    """End a run from outside its owner (cancel, sweeps); None when another won.

    Whatever its owner still writes is refused, since the run has left `running`; so
    `said`, which reads what the ledger has of its words, finds all of them.
    """
    batch = Batch(run_id, conversation_id, None, [ending.event()], ending=ending)
    batch.can_be_steered = True  # perhaps; nothing is left for one that cannot
    with transaction.atomic():
        conversations = _lock_conversations([batch])
        _tell_what_is_left(batch)
        last_seq = _pass_ending_fence(batch, sources)
        if not last_seq:
            return None
        insert_events(_numbered([batch], last_seq))
        if said is not None:
            ending.reply = said()
        promoted, deliveries = close_turns([(run_id, ending.reply)], conversations)
    return Written(last_seq, promoted, deliveries)


def _write_waiting(batches: Iterable[Batch]) -> None:
    """Write what people are asked, and deadlines that moved meanwhile."""
    for batch in batches:
        if batch.actions:
            for action in batch.actions if batch.pause is not None else ():
                action.parked = action.kind == ActionKind.APPROVAL
            # A question of the same name that is still open stays as it is.
            PendingAction.objects.bulk_create(batch.actions, ignore_conflicts=True)
        if batch.deadline_at is not None and batch.is_plain:
            run = AgentRun.objects.filter(pk=batch.run_id)
            run.update(deadline_at=batch.deadline_at)


def _files(batches: Iterable[Batch]) -> list[MadeFile]:
    return [file for batch in batches for file in batch.files]


def _write_states(batches: Iterable[Batch]) -> None:
    states = [(write, batch) for batch in batches for write in batch.states]
    # In one order everywhere, so that none deadlock.
    for write, batch in sorted(states, key=lambda one: (one[0].scope_key, one[0].key)):
        try:
            write_state(write)
        except StateRefusedError as error:
            _warn_instead(batch, write, str(error))


def _warn_instead(batch: Batch, write: StateWrite, reason: str) -> None:
    """Let the event of a refused write say so; its number is taken already."""
    named = {"scope": write.scope, "key": write.key}
    for event in batch.events:
        if event.type == EventType.STATE_UPDATED and event.data == named:
            event.type = EventType.WARNING
            event.data = {"code": "state_refused", "detail": reason, **named}


_locked_conversations = PreparedLookup(
    lambda keys: locking(Conversation.objects.filter(pk__in=keys))
)


def _lock_conversations(batches: Iterable[Batch]) -> dict[int, Conversation]:
    ids = sorted({batch.conversation_id for batch in batches})
    return {row.pk: row for row in _locked_conversations(ids)}


def _tell_what_is_left(batch: Batch) -> None:
    """Have the ledger say, before its end, which messages its runner did not pull.

    Repeatable: a transaction that failed may be tried again with the same batch.
    """
    if not batch.can_be_steered:
        return
    kept = [one for one in batch.events if one.type != EventType.STEERING_DROPPED]
    dropped = dropped_at_end(batch.run_id, batch.conversation_id)
    if dropped is not None:
        kept.insert(len(kept) - 1, dropped)
    batch.events[:] = kept


def _pass_ending_fence(
    batch: Batch, sources: Iterable[RunStatus] | None = None
) -> dict[int, int]:
    ending = batch.ending
    if ending is None:
        return {}
    allowed = EDGES[ending.status] if batch.token is None else (RunStatus.RUNNING,)
    target = {
        "status": ending.status,
        "status_reason": ending.error[:500],
        "error_code": ending.code,
        "retryable": ending.retryable,
        "finished_at": datetime.now(UTC),
        "usage": reported(ending.usage),
    }
    return pass_fence([batch.fence()], sources=tuple(sources or allowed), target=target)


def _numbered(
    batches: Iterable[Batch], last_seq: dict[int, int]
) -> list[tuple[int, int, int, NewEvent]]:
    return [
        (batch.run_id, seq, batch.invocation, event)
        for batch in batches
        for seq, event in enumerate(
            batch.events, last_seq[batch.run_id] - len(batch.events) + 1
        )
    ]
