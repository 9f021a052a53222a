"""run_get: a runner looks at its own run, to stop when cancelled (`wire.md` §6)."""

from datetime import datetime
from typing import Any

from runners.host_api.calls import CallData, HostCall
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode, ProtocolError


class Target(CallData):
    target_run_id: str


async def run_get(call: HostCall) -> dict[str, Any]:
    """Return the run's row in the shape of the wire."""
    call.facts.access.require_api("run_get")
    if call.read(Target).target_run_id != str(call.facts.public_id):
        message = "a run reads itself only"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return await call.database(wire_run, call.facts.pk)


def wire_run(run_id: int) -> dict[str, Any]:
    """Return a run as runners see it; times in epoch seconds."""
    run = AgentRun.objects.select_related(
        "event", "agent", "conversation", "workspace"
    ).get(pk=run_id)
    return wire_row(run)


def wire_row(run: AgentRun) -> dict[str, Any]:
    """Return a loaded run, with its event, agent, conversation and workspace."""
    return {
        "run_id": str(run.public_id),
        "status": run.status,
        "event_id": run.event.event_id,
        "agent_id": str(run.agent.public_id),
        "runner_id": run.runner_id,
        "conversation_id": str(run.conversation.public_id),
        "thread_id": run.event.thread or None,
        "workspace_id": str(run.workspace.public_id),
        "bot_id": str(run.bot_id) if run.bot_id else None,
        "status_reason": run.status_reason or None,
        "created_at": _epoch(run.created_at),
        "started_at": _epoch(run.started_at),
        "finished_at": _epoch(run.finished_at),
        "updated_at": _epoch(run.last_active_at),
        "deadline_at": _epoch(run.deadline_at),
        "cancel_requested_at": _epoch(run.cancel_requested_at),
        "usage": run.usage,
        "metadata": run.metadata,
    }


def _epoch(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment is not None else None
