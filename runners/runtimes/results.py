"""Results and endings of remotely held runs, as `run_append_result` brings them.

What a result may be, what it does and what is refused is said where streamed results
are read (`runners.engine.results`); here it is written at once, under the fence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from langbot.lib.models import lock_rows
from runners.choices import TERMINAL
from runners.engine.results import ResultLog
from runners.engine.snapshot import load_runs
from runners.ledger.batches import Batch, Written, write_batches
from runners.ledger.fence import NewEvent
from runners.models import AgentRun, Conversation, RunEvent
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes.callers import Caller
from runners.runtimes.endings import apply_ending, apply_result
from runners.runtimes.leases import holding, lost
from runners.runtimes.live import publish
from runners.runtimes.replies import KeptLogs
from runners.wakes import wake_deliveries, wake_runs

Apply = Callable[[ResultLog], None]

_logs = KeptLogs()


@dataclass(frozen=True, slots=True)
class Target:
    """A run and the claim under which the caller writes it."""

    caller: Caller
    run_id: str
    claim_token: str | None = None


def append_result(target: Target, raw: dict[str, Any]) -> RunEvent:
    """Write one result of a held run; returns the last event it made.

    A result without a number gets the next one; one whose number was written before
    has no effect, and its event is returned. An invalid one is a `warning`, as in a
    stream. Raises `run.not_active` for an ended run, `conflict` for one that the
    caller does not hold, or whose lease is over.
    """
    return _write(target, lambda log: apply_result(log, raw), _number(raw))


def finalize(target: Target, status: str, reason: str, usage: Any = None) -> None:
    """End a held run; raises what `append_result` raises."""
    _write(target, lambda log: apply_ending(log, status, reason, usage))


def _number(raw: dict[str, Any]) -> int | None:
    number = raw.get("sequence")
    return number if type(number) is int and number > 0 else None


def _write(target: Target, apply: Apply, number: int | None = None) -> RunEvent:
    found = target.caller.run(target.run_id)
    with transaction.atomic():
        run = _locked(target, found)
        if number is not None and number <= run.last_runner_sequence:
            return _written_before(run, number)
        log = _logs.take(run)
        apply(log)
        batch = _batch(run, log)
        written = write_batches([batch])
        wake_runs(written.promoted)
        wake_deliveries(written.deliveries)
    if batch.ending is None:
        _logs.keep(run, written.last_seq[run.pk], log)
    return _tell(run, batch, written)


def _locked(target: Target, found: AgentRun) -> AgentRun:
    """Lock conversation and run, in that order, and check the claim in the lock."""
    lock_rows(Conversation.objects.filter(pk=found.conversation_id))
    held = holding(target.caller, found, target.claim_token)
    runs = lock_rows(held.filter(claim_lease_expires_at__gt=Now()).only("pk"))
    if not runs:
        found.refresh_from_db(fields=["status"])
        if found.status in TERMINAL:
            raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "the run has ended")
        raise lost()
    (run,) = load_runs([found.pk])
    return run


def _batch(run: AgentRun, log: ResultLog) -> Batch:
    events, log.events = log.events, []
    states, log.states = log.states, []
    if log.ending is not None:
        events.append(log.ending.event(log.last_sequence))
    return Batch(
        run_id=run.pk,
        conversation_id=run.conversation_id,
        token=run.fencing_token,
        events=events,
        invocation=run.invocation,
        runner_sequence=log.last_sequence,
        first_output_at=log.first_output_at,
        states=states,
        files=log.files.take(),
        known_seq=run.last_seq,
        ending=log.ending,
    )


def _tell(run: AgentRun, batch: Batch, written: Written) -> RunEvent:
    last_seq = written.last_seq[run.pk]
    if batch.events:
        publish(run.public_id, last_seq - len(batch.events) + 1, batch.events)
        return _row(run, last_seq, batch.events[-1], run.invocation)
    return RunEvent.objects.get(run=run, seq=last_seq)


def _row(run: AgentRun, seq: int, event: NewEvent, invocation: int) -> RunEvent:
    return RunEvent(
        run=run,
        seq=seq,
        type=event.type,
        data=event.data,
        invocation=invocation,
        runner_sequence=event.runner_sequence,
        usage=event.usage,
        created_at=event.created_at,
    )


def _written_before(run: AgentRun, number: int) -> RunEvent:
    events = RunEvent.objects.filter(run=run, invocation=run.invocation)
    later = events.filter(runner_sequence__gte=number).order_by("seq").first()
    return later or RunEvent.objects.get(run=run, seq=run.last_seq)
