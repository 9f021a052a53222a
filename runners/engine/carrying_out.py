"""Carries out what people decided about paused runs, and lets the runs go on.

Each decision is one worker's, by compare-and-set on the action's row; that of a worker
which died is taken over. The tool's effect goes through the journal under the key of
the call that waited, so it happens once: what a dead worker had begun ends as
`outcome_unknown`.
"""

import logging
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError
from django.db.models import Q

from langbot.lib.conf import limits
from runners.choices import RunStatus
from runners.engine.snapshot import load_runs, thaw
from runners.host_api import tools
from runners.host_api.approvals import outcome
from runners.host_api.calls import HostCall
from runners.ledger.journal import CallKey
from runners.ledger.pausing import settle_parked
from runners.models import PendingAction, WorkerNode
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Action

if TYPE_CHECKING:
    from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

_TOGETHER = 50


class Decisions:
    """Looks for decided actions of paused runs, every 2 s and when told of one."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._held: set[int] = set()

    def look(self) -> None:
        """Look now."""
        if not self._engine.is_draining:
            self._engine.spawn(self._look())

    async def poll(self) -> None:
        """Find decisions whose wake was lost, or whose worker died."""
        if self._engine.is_draining:
            return
        engine = self._engine
        held = list(self._held)
        taken = await engine.database(take_decided, engine.node, _TOGETHER, held)
        for action in taken:
            if action.pk not in self._held:
                self._held.add(action.pk)
                engine.spawn(self._carry_out(action))

    async def _look(self) -> None:
        try:
            await self.poll()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("decisions wait for the database: %s", error)

    async def _carry_out(self, action: PendingAction) -> None:
        try:
            kept = await self._outcome(action)
            settled = await self._engine.until_database(settle_parked, action, kept)
        except (DatabaseError, InterfaceError) as error:
            # Still ours: the next look finds it, and the journal what was done.
            logger.warning("action %s waits: %s", action.public_id, error)
            return
        finally:
            self._held.discard(action.pk)
        if settled is not None:
            run = settled.run
            self._engine.outgoing.publish(
                run.public_id, settled.first_seq, settled.events
            )
            self._engine.starter.offer([run.pk] if settled.is_queued else [])

    async def _outcome(self, action: PendingAction) -> dict[str, Any]:
        try:
            call = await self._engine.until_database(self._call_of, action)
            return await outcome(action, partial(_execute, call, action.tool_name))
        except ProtocolError as error:
            return {"error": error.as_dict()}
        except (DatabaseError, InterfaceError):
            raise
        except Exception:  # a bug of ours must not keep the run waiting for good
            logger.exception("action %s could not be carried out", action.public_id)
            message = "the host failed, and nobody knows whether the tool ran"
            return {
                "error": ProtocolError(ErrorCode.OUTCOME_UNKNOWN, message).as_dict()
            }

    def _call_of(self, action: PendingAction) -> HostCall:
        """Return the call that waited, as the paused run's frozen rights allow it."""
        assert action.run_id is not None  # noqa: S101  only its retention unsets it
        (run,) = load_runs([action.run_id])
        facts = thaw(run)
        facts.deadline_at = None  # the run's clock stands still
        key = CallKey(
            run.pk,
            action.invocation,
            action.plugin_seq_id or 0,
            Action.CALL_TOOL,
            RunStatus.REQUIRES_ACTION,
        )
        return HostCall(facts, {}, self._engine.database, key)


async def _execute(
    call: HostCall, tool: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    seconds = float(limits().tool_call_seconds)
    return await tools.execute(call, tool, arguments, seconds)


def take_decided(
    node: UUID, count: int, held: Collection[int] = ()
) -> list[PendingAction]:
    """Take decisions that no living worker carries out; each is one worker's.

    `held` are those that this one has in hand. Others that are its own by the row,
    after an error of the database, are taken up again.
    """
    undone = PendingAction.objects.filter(
        parked=True, settled_at__isnull=True, decided_at__isnull=False
    )
    alive = WorkerNode.objects.alive().values("public_id")
    mine = Q(node=node) & ~Q(pk__in=held)
    free = undone.filter(Q(node=None) | ~Q(node__in=alive) | mine)
    taken = []
    for action in free.order_by("pk")[:count]:
        seen = undone.filter(pk=action.pk, node=action.node)
        if seen.update(node=node):
            action.node = node
            taken.append(action)
    return taken
