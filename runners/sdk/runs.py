"""Host calls about runs and their ledgers."""

from collections.abc import Sequence
from typing import Any

from runners.protocol.actions import Action
from runners.protocol.pages import (
    Direction,
    RunEvent,
    RunEventPage,
    RunPage,
    RunRecord,
)
from runners.sdk.calls import Calls
from runners.sdk.results import Result


class RunCalls(Calls):
    """`run_id` names the run that is meant; without it, this one."""

    __slots__ = ()

    async def run_get(self, run_id: str | None = None) -> RunRecord:
        """Return a run: this one, or one this run may see."""
        return await self._ask(RunRecord, Action.RUN_GET, self._target(run_id))

    async def run_list(
        self,
        *,
        statuses: Sequence[str] = (),
        before_cursor: str | None = None,
        limit: int = 50,
    ) -> RunPage:
        """Return runs of the conversation, newest first."""
        request = {
            "conversation_id": None,
            "statuses": list(statuses) or None,
            "before_cursor": before_cursor,
            "limit": limit,
        }
        return await self._ask(RunPage, Action.RUN_LIST, request)

    async def run_events_page(
        self,
        run_id: str | None = None,
        *,
        before_cursor: str | None = None,
        after_cursor: str | None = None,
        limit: int = 50,
        direction: Direction = "forward",
    ) -> RunEventPage:
        """Return a page of a run's ledger: this one's, or one this run may see."""
        request = {
            **self._target(run_id),
            "before_cursor": before_cursor,
            "after_cursor": after_cursor,
            "limit": limit,
            "direction": direction,
        }
        return await self._ask(RunEventPage, Action.RUN_EVENTS_PAGE, request)

    async def run_cancel(
        self, run_id: str | None = None, reason: str | None = None
    ) -> RunRecord:
        """Ask for a run to be cancelled; it ends a moment later."""
        request = {**self._target(run_id), "reason": reason}
        return await self._ask(RunRecord, Action.RUN_CANCEL, request)

    async def run_append_result(
        self, result: Result, run_id: str | None = None
    ) -> RunEvent:
        """Write a result into a ledger once and return the event it became."""
        target = self._target(run_id)
        sent = {
            "run_id": target["target_run_id"],
            "type": result.type,
            "data": result.data,
            "usage": dict(result.usage) if result.usage is not None else None,
        }
        request = {**target, "result": sent}
        return await self._ask(RunEvent, Action.RUN_APPEND_RESULT, request)

    async def run_finalize(
        self,
        run_id: str | None = None,
        *,
        status: str | None = None,
        reason: str | None = None,
    ) -> RunRecord:
        """End a run with a terminal status; `completed` without one."""
        request = {**self._target(run_id), "status": status, "reason": reason}
        return await self._ask(RunRecord, Action.RUN_FINALIZE, request)

    def _target(self, run_id: str | None) -> dict[str, Any]:
        return {"target_run_id": run_id or self.run_id}
