"""Looks after runs whose worker, web node or requester went away."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agents.registry import connections
from langbot.lib.conf import limits
from langbot.lib.redis import node_alive
from runners.choices import RunStatus
from runners.endings import end_and_wake
from runners.engine import sweeps
from runners.engine.active import ActiveRun, Tenure
from runners.engine.placement import Place
from runners.engine.snapshot import RunFacts, load_runs, thaw
from runners.engine.starter import prepare_or_end, start_message
from runners.ledger.batches import Ending
from runners.ledger.claims import (
    Claimed,
    adopt_runs,
    adoptable_runs,
    carried_runs,
    release_runs,
)
from runners.ledger.positions import RunOutput, run_outputs
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode
from runners.runtimes.replies import UNREADABLE

if TYPE_CHECKING:
    from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

_ADOPT_TOGETHER = 100
_ORPHANS_SECONDS = 5.0
# After a (re)start of Redis every heartbeat is missing at first.
_REDIS_SETTLES_SECONDS = 10


class Adoption:
    """Runs every second beside the engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._last_sweep: dict[str, float] = {}
        self._sweeping: set[str] = set()
        self._last_nodes = 0.0
        self._last_orphans = 0.0
        self._orphans: set[int] = set()
        self._strangers: set[int] = set()

    def rounds(self) -> list[Callable[[], Awaitable[None]]]:
        """Return what is to be done every second, each independent of the others."""
        return [
            self._adopt,
            self._release_orphans,
            self._check_web_nodes,
            self._sweep,
        ]

    async def _adopt(self) -> None:
        engine = self._engine
        while run_ids := await engine.database(adoptable_runs, _ADOPT_TOGETHER):
            claimed = await engine.writer.transact(adopt_runs, run_ids, engine.node)
            if not claimed:
                return  # their rows are locked: again in a moment
            for adopted in await engine.database(_load, claimed):
                self._carry(adopted)

    def _carry(self, adopted: "Adopted") -> None:
        run, facts = adopted.run, adopted.facts
        place = Place(run.web_node, run.connection_id or run.public_id)
        tenure = Tenure(adopted.claimed.token, run.invocation, place)
        active = ActiveRun(facts, tenure, self._engine.on_call)
        active.known_seq = adopted.claimed.last_seq
        output = adopted.output
        active.log.resume(run.last_runner_sequence, output.text, *output.before)
        active.log.files.resume(output.files)
        outgoing = self._engine.outgoing
        outgoing.publish(run.public_id, active.known_seq, [adopted.claimed.event])
        self._engine.carry(active, run.inbound_cursor)
        if adopted.request is not None:
            active.start_message = start_message(active, adopted.request)
            self._engine.to_plugin(active, active.start_message)
        logger.info("run %s adopted", run.public_id)

    async def _release_orphans(self) -> None:
        """Give up runs that are ours in the ledger only.

        A claim whose answer was lost with the database's connection leaves them.
        """
        engine = self._engine
        if time.monotonic() - self._last_orphans < _ORPHANS_SECONDS:
            return
        self._last_orphans = time.monotonic()
        ours = await engine.database(carried_runs, engine.node)
        self._forget_strangers(ours)
        orphans = ours - {run.facts.pk for run in engine.active.values()}
        # Seen twice: a claim that has just been committed is carried in a moment.
        if sure := orphans & self._orphans:
            logger.warning("%d runs are given up to adopters", len(sure))
            await engine.database(release_runs, engine.node, sure)
        self._orphans = orphans

    def _forget_strangers(self, ours: set[int]) -> None:
        """Stop runs that are ours in memory only: ended or parked by another process.

        Their fence would tell when they write, but they may just call the host.
        """
        active = {run.facts.pk: run for run in self._engine.active.values()}
        strangers = active.keys() - ours
        for key in strangers & self._strangers:  # twice: a claim may be on its way
            logger.warning("run %s is no longer ours", active[key].facts.public_id)
            self._engine.spawn(self._engine.lost(active[key]))
        self._strangers = strangers

    async def _check_web_nodes(self) -> None:
        if time.monotonic() - self._last_nodes < limits().heartbeat_seconds:
            return
        self._last_nodes = time.monotonic()
        nodes = {run.tenure.place.web_node for run in self._engine.active.values()}
        for node in await self._gone(nodes):
            for run in list(self._engine.active.values()):
                if run.tenure.place.web_node == node and run.log.ending is None:
                    error = "the web process that held the plugin ended"
                    run.lose(ErrorCode.CONNECTION_LOST, error)
                    self._engine.writer.mark(run)

    async def _sweep_once(self, periodic: sweeps.Periodic) -> None:
        """Do one round. The next waits for it: where rounds wait for a lock, more and
        more of them would keep the adoptions from the pool's few threads.
        """
        self._sweeping.add(periodic.name)
        try:
            holder = str(self._engine.node)
            await self._engine.database(sweeps.run_under_lease, periodic, holder)
        finally:
            self._sweeping.discard(periodic.name)

    async def _gone(self, nodes: set[str]) -> list[str]:
        if not nodes:
            return []
        client = self._engine.client
        info = await client.info("server")
        if int(info["uptime_in_seconds"]) < _REDIS_SETTLES_SECONDS:
            return []
        present = await client.mget([node_alive(node) for node in nodes])
        return [
            node for node, alive in zip(nodes, present, strict=True) if alive is None
        ]

    async def _sweep(self) -> None:
        now = time.monotonic()
        for periodic in sweeps.registered():
            is_due = now - self._last_sweep.get(periodic.name, 0.0) >= periodic.seconds
            if is_due and periodic.name not in self._sweeping:
                self._last_sweep[periodic.name] = now
                self._engine.spawn(self._sweep_once(periodic))
        rows = await self._engine.database(connections.online_nodes)
        for node in await self._gone(set(rows)):
            await self._engine.database(connections.disconnect_node, node)


@dataclass(frozen=True, slots=True)
class Adopted:
    """A run that is ours now; `request` starts it where nothing came from it yet."""

    claimed: Claimed
    run: AgentRun
    facts: RunFacts
    output: RunOutput
    request: bytes | None


def _load(claimed: list[Claimed]) -> list[Adopted]:
    """Return what carries the runs on; those that cannot be read end, each alone."""
    try:
        return _load_together(claimed)
    except UNREADABLE:
        return [adopted for one in claimed for adopted in _load_alone(one)]


def _load_alone(claimed: Claimed) -> list[Adopted]:
    try:
        return _load_together([claimed])
    except UNREADABLE as error:
        run = AgentRun.objects.only("public_id", "conversation").get(pk=claimed.run_id)
        _end_lost(run, error)
        return []


def _load_together(claimed: list[Claimed]) -> list[Adopted]:
    wins = {one.run_id: one for one in claimed}
    runs = load_runs(list(wins))
    outputs = run_outputs(runs)
    loaded = [_load_one(wins[run.pk], run, outputs[run.pk]) for run in runs]
    return [one for one in loaded if one is not None]


def _load_one(claimed: Claimed, run: AgentRun, output: RunOutput) -> Adopted | None:
    """Return what carries a run on; one that nobody can carry on ends."""
    request = None
    try:
        facts = _thaw_surely(run)
    except UNREADABLE as error:
        _end_lost(run, error)
        return None
    if run.last_runner_sequence == 0:
        # Its worker may have died between the claim and sending it off.
        prepared = prepare_or_end(run)
        if prepared is None:
            return None
        request = prepared[2]
    return Adopted(claimed, run, facts, output, request)


def _end_lost(run: AgentRun, error: Exception) -> None:
    # Given up as it is, it would be adopted again and again.
    logger.warning("run %s cannot go on: %s", run.public_id, error)
    reason = "its worker is gone and left nothing to go on with"
    end_and_wake(run, Ending(RunStatus.FAILED, ErrorCode.HOST_LOST, reason))


def _thaw_surely(run: AgentRun) -> RunFacts:
    if not run.snapshot:
        message = "it has no snapshot"
        raise ValueError(message)
    return thaw(run)


def finish_stuck_cancels() -> int:
    """End runs whose cancel nobody carried out within 5 s (AG-35)."""
    before = datetime.now(UTC) - timedelta(seconds=limits().cancel_finalise_seconds)
    late = AgentRun.objects.live().filter(cancel_requested_at__lt=before)
    ended = 0
    for run in late.order_by("cancel_requested_at"):  # as their index has them
        ending = Ending(RunStatus.CANCELLED, ErrorCode.CANCELLED, "cancelled")
        ended += end_and_wake(run, ending) is not None
    return ended
