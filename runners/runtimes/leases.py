"""Runs that remote runtimes hold: claimed, renewed, released, lost.

A claim is that of any worker (`runners.ledger.claims`), with the runtime as its node
and a lease beside it. While the lease lasts nobody adopts the run; after it the run is
queued again for whoever comes first, and its former holder's fencing token is void.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce, Now
from pydantic_core import from_json

from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from langbot.lib.prepared import PreparedQuery
from runners.choices import EventType, RunStatus
from runners.endings import end_and_wake
from runners.engine.snapshot import RunFacts, load_runs
from runners.engine.starter import prepare_or_end
from runners.ledger.batches import Ending, Written
from runners.ledger.claims import Claim, Claimed, claim_runs
from runners.ledger.fence import Fence, NewEvent, insert_events, pass_fence
from runners.ledger.turns import DEFAULT_QUEUE
from runners.models import AgentRun, Conversation, RemoteRuntime
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes.callers import Caller
from runners.runtimes.claim_tokens import claimed_number
from runners.runtimes.live import publish
from runners.runtimes.registry import may_be_taken
from runners.signals import tell_run_started
from runners.wakes import wake_runs

logger = logging.getLogger(__name__)

MOST_DISPATCHES = 5  # a run whose holders fall silent so often ends
_CANDIDATES = 10  # asked at once: others may take some of them meanwhile
_ROUNDS = 20
_SWEPT_TOGETHER = 200

Prepared = tuple[AgentRun, RunFacts, bytes]


def claim_next(
    caller: Caller,
    runtime: RemoteRuntime,
    seconds: int,
    *,
    queue: str | None = None,
    runner_ids: list[str] | None = None,
) -> tuple[AgentRun, dict[str, Any]] | None:
    """Claim the next queued run for a runtime; None when none waits.

    The highest priority first, then the oldest. Returns the run as it was found, and
    the data of the request that starts its runner.
    """
    for _round in range(_ROUNDS):
        candidates = _waiting(caller, queue, runner_ids)[:_CANDIDATES]
        found = list(candidates.values_list("pk", flat=True))
        if not found:
            return None
        for run in load_runs_in_order(found):
            request = _claim(caller, runtime, run, seconds)
            if request is not None:
                return run, from_json(request)
    return None


def load_runs_in_order(ids: list[int]) -> list[AgentRun]:
    """Load runs with what a claim looks at, in the order of `ids`."""
    runs = {run.pk: run for run in load_runs(ids)}
    return [runs[pk] for pk in ids if pk in runs]


def renew(caller: Caller, held: QuerySet[AgentRun], seconds: int) -> bool:
    """Lengthen a lease that is not over yet; the caller's connection holds it now."""
    until = Now() + timedelta(seconds=seconds)
    return bool(
        held.filter(claim_lease_expires_at__gt=Now()).update(
            claim_lease_expires_at=until,
            connection_id=caller.connection_id,
            last_active_at=datetime.now(UTC),
        )
    )


def give_back(held: QuerySet[AgentRun], why: str, detail: str = "") -> AgentRun | None:
    """Queue a held run again, as its next invocation; None when it is held no more.

    `held` is asked again under the run's lock. What the invocation said stays in the
    ledger and is no part of the reply.
    """
    with transaction.atomic():
        runs = lock_rows(held.filter(claim_lease_expires_at__isnull=False))
        if not runs:
            return None
        (run,) = runs
        event = NewEvent(EventType.RUN_QUEUED, {"reason": why})
        fence = Fence(run.pk, run.fencing_token, 1, runner_sequence=0)
        target = {
            "status": RunStatus.QUEUED,
            "status_reason": (detail or why)[:500],
            "node": None,
            "connection_id": None,
            "claim_lease_expires_at": None,
            "queued_at": datetime.now(UTC),
            "invocation": run.invocation + 1,
        }
        seq = pass_fence([fence], target=target)[run.pk]
        insert_events([(run.pk, seq, run.invocation, event)])
        wake_runs([run.pk])
    publish(run.public_id, seq, [event])
    return run


# Asked every second, and nearly always answered with no.
_any_held = PreparedQuery(lambda: _held().values_list("pk")[:1])
_any_waiting = PreparedQuery(lambda: _queued().values_list("pk")[:1])


def sweep() -> int:
    """Take runs from holders whose lease is over; end those that waited too long.

    That is past their deadline, or for a runtime that does not come. Returns how many
    runs that were.
    """
    taken = 0
    if _any_held():
        taken += sum(map(_take_back, _lapsed())) + sum(map(_time_out, _late()))
    if _any_waiting():
        taken += sum(map(_give_up, _unclaimed()))
    return taken


def reconcile(caller: Caller, stale_after: float | None) -> tuple[list[str], int]:
    """Take back what silent runtimes of the caller hold; see `runtime_reconcile`."""
    rows = caller.within(RemoteRuntime.objects.all())
    if stale_after is None:
        silent = rows.filter(heartbeat_deadline_at__lt=Now())
    else:
        silent = rows.filter(heartbeat_at__lt=Now() - timedelta(seconds=stale_after))
        held = _held().filter(node__in=silent.values("public_id"))
        held.filter(claim_lease_expires_at__gt=Now()).update(
            claim_lease_expires_at=Now() - timedelta(seconds=1)
        )
    names = list(silent.order_by("pk").values_list("runtime_id", flat=True))
    return names, sum(map(_take_back, _lapsed(caller)))


def _waiting(
    caller: Caller, queue: str | None, runner_ids: list[str] | None
) -> QuerySet[AgentRun]:
    rows = caller.within(AgentRun.objects.waiting())
    if queue is not None:
        rows = rows.filter(queue_name="" if queue == DEFAULT_QUEUE else queue)
    if runner_ids is not None:
        rows = rows.filter(runner_id__in=runner_ids)
    return rows.order_by("-priority", "pk")


def _claim(
    caller: Caller, runtime: RemoteRuntime, run: AgentRun, seconds: int
) -> bytes | None:
    prepared = prepare_or_end(run) if run.status == RunStatus.QUEUED else None
    if prepared is None:
        return None
    with transaction.atomic():
        claimed = _claim_for(caller, runtime, prepared)
        if claimed is None:
            return None
        until = Now() + timedelta(seconds=seconds)
        AgentRun.objects.filter(pk=run.pk).update(claim_lease_expires_at=until)
    tell_run_started(run, claimed.invocation)
    publish(run.public_id, claimed.last_seq, [claimed.event])
    return prepared[2]


def _claim_for(
    caller: Caller, runtime: RemoteRuntime, prepared: Prepared
) -> Claimed | None:
    run, facts, _request = prepared
    deadline = facts.deadline_at or datetime.now(UTC)
    claim = Claim(
        run.pk,
        caller.connection_id,
        "",
        facts.runner_id,
        deadline,
        facts.snapshot,
        run.invocation,
    )
    return claim_runs(runtime.public_id, [claim]).get(run.pk)


def _held() -> QuerySet[AgentRun]:
    return AgentRun.objects.running().filter(claim_lease_expires_at__isnull=False)


def _lapsed(caller: Caller | None = None) -> list[AgentRun]:
    over = _held().filter(claim_lease_expires_at__lt=Now())
    if caller is not None:
        over = caller.within(over)
    return list(over.defer("snapshot").order_by("pk")[:_SWEPT_TOGETHER])


def _late() -> list[AgentRun]:
    grace = timedelta(seconds=limits().deadline_grace_seconds)
    late = _held().filter(deadline_at__lt=Now() - grace)
    return list(late.defer("snapshot").order_by("pk")[:_SWEPT_TOGETHER])


def _queued() -> QuerySet[AgentRun]:
    return AgentRun.objects.waiting().exclude(queue_name="")


def _unclaimed() -> list[AgentRun]:
    """Return runs of remote queues that nobody is there for, or came for in an hour."""
    since = _queued().alias(since=Coalesce("queued_at", "created_at"))
    patience = timedelta(seconds=limits().offline_wait_seconds)
    longest = timedelta(seconds=limits().run_seconds_maximum)
    over = since.filter(since__lt=Now() - patience).filter(
        ~may_be_taken() | Q(since__lt=Now() - longest)
    )
    return list(over.defer("snapshot")[:_SWEPT_TOGETHER])


def _take_back(run: AgentRun) -> bool:
    rows = AgentRun.objects.running().filter(
        pk=run.pk, fencing_token=run.fencing_token, claim_lease_expires_at__lt=Now()
    )
    if run.dispatch_attempts >= MOST_DISPATCHES:
        taken = _end_lapsed(run, rows)
    else:
        taken = give_back(rows, "lease_expired") is not None
    if taken:
        logger.warning("run %s was taken from a silent runtime", run.public_id)
    return taken


def _end_lapsed(run: AgentRun, rows: QuerySet[AgentRun]) -> bool:
    """End a run that is in `rows` still; queued in between, it would be claimed."""
    error = f"{run.dispatch_attempts} times its worker fell silent"
    ending = Ending(RunStatus.FAILED, ErrorCode.HOST_LOST, error)
    ending.retryable = True
    with transaction.atomic():  # conversation first, as everywhere
        lock_rows(Conversation.objects.filter(pk=run.conversation_id))
        if not lock_rows(rows.only("pk")):
            return False
        written = end_and_wake(run, ending)
    return _told(run, ending, written)


def _give_up(run: AgentRun) -> bool:
    error = f"no runtime took it from the queue {run.queue_name}"
    ending = Ending(RunStatus.FAILED, ErrorCode.RUNNER_UNAVAILABLE, error)
    return _end(run, ending, [RunStatus.QUEUED])


def _time_out(run: AgentRun) -> bool:
    error = "the run's deadline passed"
    ending = Ending(RunStatus.TIMEOUT, ErrorCode.RUNNER_TIMEOUT, error)
    return _end(run, ending)


def _end(
    run: AgentRun, ending: Ending, sources: Iterable[RunStatus] | None = None
) -> bool:
    ending.retryable = True
    return _told(run, ending, end_and_wake(run, ending, sources))


def _told(run: AgentRun, ending: Ending, written: Written | None) -> bool:
    if written is not None:
        publish(run.public_id, written.last_seq[run.pk], [ending.event()])
    return written is not None


def lost() -> ProtocolError:
    """Return the refusal for a runtime that does not hold the run (any more)."""
    message = "this runtime does not hold the run, or does not any more"
    return ProtocolError(ErrorCode.CONFLICT, message)


def holding(
    caller: Caller, run: AgentRun, claim_token: str | None = None
) -> QuerySet[AgentRun]:
    """Return the run's row as long as the caller's claim holds; ask it in the lock.

    Without its token a claim is known by the connection that made or renewed it: the
    SDK sends none with results.
    """
    runtimes = RemoteRuntime.objects.filter(workspace=caller.workspace_id)
    rows = AgentRun.objects.running().filter(
        pk=run.pk, node__in=runtimes.values("public_id")
    )
    if claim_token is None:
        return rows.filter(connection_id=caller.connection_id)
    number = claimed_number(run, claim_token)
    return rows.none() if number is None else rows.filter(fencing_token=number)
