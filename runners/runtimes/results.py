"""Results and endings of remotely held runs, as `run_append_result` brings them.

What a result may be, what it does and what is refused is said where streamed results
are read (`runners.engine.results`); here it is written at once, under the fence.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from artifacts.made import store_contents
from langbot.lib.models import lock_rows
from runners.choices import TERMINAL
from runners.engine.results import ResultLog
from runners.engine.snapshot import load_runs
from runners.ledger.batches import Batch, Written, write_stored
from runners.ledger.fence import NewEvent
from runners.models import AgentRun, Conversation, RunEvent
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes.callers import Caller
from runners.runtimes.endings import apply_ending, apply_result
from runners.runtimes.leases import holding, lost
from runners.runtimes.live import publish
from runners.runtimes.replies import KeptLogs
from runners.wakes import wake_deliveries, wake_runs

_TRIES = 20  # each means that another process wrote the run meanwhile

Apply = Callable[[ResultLog], None]

_logs = KeptLogs()
_turns = tuple(threading.Lock() for _ in range(64))  # of runs with the same remainder


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
    """Work out what a result amounts to, store its files, then write it.

    In this order no file is stored inside a transaction. When another one was written
    in between, what was worked out may be wrong: it is done again. A holder's results
    come to one process, where they wait for each other.
    """
    with _turns[hash(target.run_id) % len(_turns)]:
        return _write_in_turn(target, apply, number)


def _write_in_turn(target: Target, apply: Apply, number: int | None) -> RunEvent:
    for _try in range(_TRIES):
        run = _held_run(target)
        if number is not None and number <= run.last_runner_sequence:
            return _written_before(run, number)
        log = _logs.take(run)
        apply(log)
        batch = _batch(run, log)
        store_contents(batch.files)
        written = _write_unless_stale(target, run, batch)
        if written is None:
            continue
        if batch.ending is None:
            _logs.keep(run, written.last_seq[run.pk], log)
        return _tell(run, batch, written)
    message = "too many results of this run come at once"
    raise ProtocolError(ErrorCode.CONFLICT, message, retryable=True)


def _held_run(target: Target) -> AgentRun:
    """Return the run as it stands; raises when the caller does not hold it."""
    found = target.caller.run(target.run_id)
    if not _held(target, found).exists():
        raise _refusal(found)
    (run,) = load_runs([found.pk])
    return run


def _write_unless_stale(target: Target, run: AgentRun, batch: Batch) -> Written | None:
    """Write a batch whose files are stored; None when the run was written meanwhile.

    Locks conversation and run, in that order, and checks the claim in the lock.
    """
    with transaction.atomic():
        lock_rows(Conversation.objects.filter(pk=run.conversation_id))
        held = lock_rows(_held(target, run).only("last_seq", "invocation"))
        if not held:
            raise _refusal(run)
        if (held[0].last_seq, held[0].invocation) != (run.last_seq, run.invocation):
            return None
        written = write_stored([batch])
        wake_runs(written.promoted)
        wake_deliveries(written.deliveries)
    return written


def _held(target: Target, run: AgentRun) -> QuerySet[AgentRun]:
    held = holding(target.caller, run, target.claim_token)
    return held.filter(claim_lease_expires_at__gt=Now())


def _refusal(run: AgentRun) -> ProtocolError:
    """Return why the caller, who does not hold the run, may not write it."""
    run.refresh_from_db(fields=["status"])
    if run.status in TERMINAL:
        return ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "the run has ended")
    return lost()


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
        can_be_steered=log.facts.access.capabilities.get("steering", False),
        ending=log.ending,
    )


def _tell(run: AgentRun, batch: Batch, written: Written) -> RunEvent:
    last_seq = written.last_seq[run.pk]
    if batch.events:
        publish(run.public_id, last_seq - len(batch.events) + 1, batch.events)
        return _row(run, last_seq, batch.events[-1])
    return RunEvent.objects.get(run=run, seq=last_seq)


def _row(run: AgentRun, seq: int, event: NewEvent) -> RunEvent:
    return RunEvent(
        run=run,
        seq=seq,
        type=event.type,
        data=event.data,
        invocation=run.invocation,
        runner_sequence=event.runner_sequence,
        usage=event.usage,
        created_at=event.created_at,
    )


def _written_before(run: AgentRun, number: int) -> RunEvent:
    events = RunEvent.objects.filter(run=run, invocation=run.invocation)
    later = events.filter(runner_sequence__gte=number).order_by("seq").first()
    return later or RunEvent.objects.get(run=run, seq=run.last_seq)
