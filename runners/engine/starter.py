"""From queued to running: many waiting runs are prepared and claimed together."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError

from langbot.lib.conf import limits
from langbot.lib.redis import FAILURES
from runners.choices import RunStatus
from runners.endings import end_and_wake
from runners.engine.active import ActiveRun, Tenure
from runners.engine.placement import Place, Unplaced
from runners.engine.snapshot import (
    RunFacts,
    RunnerRefusedError,
    build_context,
    freeze,
    load_runs,
    thaw,
)
from runners.gateway.messages import Kind, NodeMessage
from runners.ledger.batches import Ending
from runners.ledger.claims import Claim, Claimed, claim_runs
from runners.ledger.pausing import EARLIER
from runners.ledger.positions import run_outputs
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Action, encode
from runners.protocol.manifest import AGENT_RUNNER_KIND
from runners.signals import tell_run_started

if TYPE_CHECKING:
    from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

_TOGETHER = 50
_POLL_ROWS = 200

Prepared = tuple[AgentRun, RunFacts, bytes]


class Starter:
    """Takes offered run ids; over the loop's capacity they stay queued rows."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._offered: dict[int, None] = {}
        self._waiting: dict[int, None] = {}
        self._task: asyncio.Task[None] | None = None

    def offer(self, run_ids: list[int]) -> None:
        """Start these queued runs when there is room."""
        if self._engine.is_draining:
            return
        self._offered.update(dict.fromkeys(run_ids))
        if self._offered and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._start_all())

    async def stop(self) -> None:
        """Let the claims under way end; nothing new is started."""
        self._offered.clear()
        if self._task is not None:
            await asyncio.wait({self._task})

    def slot_freed(self) -> None:
        """A run ended: try again those that found their runner busy."""
        waiting, self._waiting = self._waiting, {}
        self.offer(list(waiting))

    async def poll(self) -> None:
        """Find queued rows whose wake was lost."""
        self.offer(await self._engine.database(queued_ids, _POLL_ROWS))

    async def _start_all(self) -> None:
        while self._offered:
            room = limits().worker_runs - len(self._engine.active)
            if room <= 0:
                self._offered.clear()  # rows wait; the poll offers the oldest again
                await self._start_sub_runs()
                continue
            ids = list(self._offered)[: min(room, _TOGETHER)]
            for run_id in ids:
                del self._offered[run_id]
            try:
                await self._start(ids)
            except (DatabaseError, InterfaceError, *FAILURES) as error:
                logger.warning("start failed, the poll tries again: %s", error)
            except Exception:  # one start must not stop the others
                logger.exception("start failed, the poll tries again")

    async def _start_sub_runs(self) -> None:
        """Start what carried runs may wait for: sub-runs need no room."""
        try:
            if ids := await self._engine.database(queued_sub_runs, _TOGETHER):
                await self._start(ids)
        except (DatabaseError, InterfaceError, *FAILURES) as error:
            logger.warning("start failed, the poll tries again: %s", error)
        except Exception:  # as above
            logger.exception("start failed, the poll tries again")

    async def _start(self, ids: list[int]) -> None:
        prepared = await self._engine.database(prepare, ids)
        placed: list[tuple[Prepared, Place]] = []
        for one in prepared:
            place = await self._place(one)
            if place is not None:
                placed.append((one, place))
        if not placed:
            return
        claims = [_claim(one, place) for one, place in placed]
        claimed = await self._engine.writer.transact(
            claim_runs, self._engine.node, claims
        )
        lost = []
        for one, place in placed:
            if one[0].pk in claimed:
                self._carry(one, place, claimed[one[0].pk])
            else:
                lost.append((one[0], place))
        await self._release_unused(lost)

    async def _release_unused(self, lost: list[tuple[AgentRun, Place]]) -> None:
        """Give back the slots of invocations that are over meanwhile.

        Another worker that won a claim has the same reservation, and keeps it.
        """
        if lost:
            keys = [run.pk for run, _ in lost]
            invocations = await self._engine.database(invocations_of, keys)
            for run, place in lost:
                if invocations.get(run.pk) != run.invocation:
                    await self._engine.placement.release(
                        place, run.public_id, run.invocation
                    )

    async def _place(self, one: Prepared) -> Place | None:
        run, facts, _ = one
        place = await self._reserve(run, facts)
        if isinstance(place, Place):
            return place
        if place is Unplaced.BUSY:
            self._waiting[run.pk] = None
        await self._engine.database(note_waiting, run, place)
        return None

    async def _reserve(self, run: AgentRun, facts: RunFacts) -> Place | Unplaced:
        place = str(run.workspace_id), facts.runner_id
        return await self._engine.placement.reserve(
            run.public_id, *place, _life(facts), run.depth, run.invocation
        )

    def _carry(self, one: Prepared, place: Place, claimed: Claimed) -> None:
        run, facts, request = one
        tell_run_started(run, claimed.invocation)
        tenure = Tenure(claimed.token, claimed.invocation, place)
        active = ActiveRun(facts, tenure, self._engine.on_call)
        active.known_seq = claimed.last_seq
        earlier = facts.earlier_output
        if earlier is not None:
            active.log.resume(0, earlier.text, *earlier.before)
            active.log.files.resume(earlier.files)
        active.start_message = start_message(active, request)
        self._engine.carry(active, claimed.inbound_cursor)
        self._engine.to_plugin(active, active.start_message)
        self._engine.outgoing.publish(run.public_id, claimed.last_seq, [claimed.event])
        if run.cancel_requested_at is not None:
            active.begin_cancel()


def prepare(ids: list[int]) -> list[Prepared]:
    """Load queued runs with their facts and the data of their run request.

    Those of a remote queue wait for a runtime (`runners.runtimes.leases`).
    """
    prepared = []
    for run in load_runs(ids):
        if run.status == RunStatus.QUEUED and not run.queue_name:
            one = prepare_or_end(run)
            if one is not None:
                prepared.append(one)
    return prepared


def prepare_or_end(run: AgentRun) -> Prepared | None:
    """Return what starts a run; one that cannot be described to its runner ends."""
    try:
        facts = thaw(run) if run.snapshot else freeze(run)
        if EARLIER in facts.snapshot:
            facts.earlier_output = run_outputs([run])[run.pk]
        return run, facts, run_request(run, facts)
    except (DatabaseError, InterfaceError):
        raise
    except RunnerRefusedError as error:
        ending = Ending(RunStatus.FAILED, error.code, str(error), retryable=True)
        end_and_wake(run, ending)
        return None
    except Exception as error:
        # An unreadable secret, a context over 16 MiB: it would block its
        # conversation and every batch it is in.
        logger.exception("run %s cannot be started", run.public_id)
        reason = f"the run cannot be started: {type(error).__name__}"
        code = ErrorCode.RUNNER_CONTEXT_INVALID
        end_and_wake(run, Ending(RunStatus.FAILED, code, reason))
        return None


def run_request(run: AgentRun, facts: RunFacts) -> bytes:
    """Return the data of the request that starts the run in its plugin."""
    runner_name = facts.runner_id.rpartition("/")[2]
    context = build_context(run, facts)
    return encode({"runner_name": runner_name, "context": context})


def start_message(active: ActiveRun, request: bytes) -> NodeMessage:
    """Return what starts an invocation; its web node ignores a repeat."""
    facts, tenure = active.facts, active.tenure
    return NodeMessage(
        Kind.RUN,
        tenure.place.connection_id,
        facts.public_id,
        request,
        Action.RUN_AGENT if _is_agent_runner(facts) else Action.RUN_RUNNER,
        int(_life(facts)),
        number=tenure.invocation,
    )


def queued_ids(count: int) -> list[int]:
    """Return the oldest queued runs, without those that wait for a remote runtime."""
    ours = AgentRun.objects.waiting().filter(queue_name="")
    return list(ours.values_list("pk", flat=True)[:count])


def queued_sub_runs(count: int) -> list[int]:
    """Return the oldest queued runs that another run asked for."""
    ours = AgentRun.objects.waiting().filter(queue_name="", parent__isnull=False)
    return list(ours.values_list("pk", flat=True)[:count])


def invocations_of(run_ids: list[int]) -> dict[int, int]:
    """Return the invocation of each run that is running, or waits to."""
    statuses = (RunStatus.QUEUED, RunStatus.RUNNING)
    going_on = AgentRun.objects.filter(pk__in=run_ids, status__in=statuses)
    return dict(going_on.values_list("pk", "invocation"))


def note_waiting(run: AgentRun, reason: Unplaced) -> None:
    """Say why a run stays queued; without any runner for 60 s it fails."""
    waited = datetime.now(UTC) - (run.queued_at or run.created_at)
    patience = timedelta(seconds=limits().offline_wait_seconds)
    if reason is Unplaced.OFFLINE and waited > patience:
        ending = Ending(
            RunStatus.FAILED,
            code=ErrorCode.RUNNER_UNAVAILABLE,
            error=f"no plugin that serves {run.runner_id} is connected",
            retryable=True,
        )
        end_and_wake(run, ending, [RunStatus.QUEUED])
    elif run.status_reason != reason.value:
        AgentRun.objects.filter(pk=run.pk, status=RunStatus.QUEUED).update(
            status_reason=reason.value
        )


def _is_agent_runner(facts: RunFacts) -> bool:
    return bool(facts.snapshot.get("kind") == AGENT_RUNNER_KIND)


def _claim(one: Prepared, place: Place) -> Claim:
    run, facts, _ = one
    deadline = facts.deadline_at or datetime.now(UTC)
    return Claim(
        run.pk,
        place.connection_id,
        place.web_node,
        facts.runner_id,
        deadline,
        facts.snapshot,
        run.invocation,
    )


def _life(facts: RunFacts) -> float:
    if facts.deadline_at is None:
        return float(limits().run_seconds)
    return max(1.0, facts.deadline_at.timestamp() - time.time())
