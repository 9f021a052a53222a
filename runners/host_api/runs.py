"""run_get: a runner looks at its own run, to stop when cancelled (`wire.md` §6)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from runners.choices import RunStatus
from runners.host_api.calls import HostCall
from runners.ledger.turns import DEFAULT_QUEUE
from runners.models import AgentRun
from runners.runtimes.registry import runtime_ids

CLAIMED = "claimed"
NOBODY = UUID(int=0)
SHOWN = ("event", "agent", "binding", "conversation", "workspace")


async def run_get(call: HostCall) -> dict[str, Any]:
    """Return the run's row in the shape of the wire."""
    return await call.database(wire_run, call.facts.pk)


def wire_run(run_id: int) -> dict[str, Any]:
    """Return a run as runners see it; times in epoch seconds."""
    run = AgentRun.objects.select_related(*SHOWN).get(pk=run_id)
    return wire_rows([run])[0]


def wire_rows(runs: list[AgentRun]) -> list[dict[str, Any]]:
    """Return loaded runs, each with what `SHOWN` names, as runners see them."""
    runtimes = runtime_ids(runs)
    return [wire_row(run, runtimes.get(run.node or NOBODY, "")) for run in runs]


def wire_row(run: AgentRun, runtime_id: str = "") -> dict[str, Any]:
    """Return a loaded run; `runtime_id` is the remote runtime that holds it."""
    return {
        "run_id": str(run.public_id),
        "status": _status(run),
        "event_id": run.event.event_id,
        "agent_id": str(run.agent.public_id),
        "binding_id": str(run.binding.public_id) if run.binding else None,
        "runner_id": run.runner_id,
        "conversation_id": str(run.conversation.public_id),
        "thread_id": run.event.thread or None,
        "workspace_id": str(run.workspace.public_id),
        "bot_id": str(run.bot_id) if run.bot_id else None,
        "status_reason": run.status_reason or None,
        "created_at": epoch(run.created_at),
        "started_at": epoch(run.started_at),
        "finished_at": epoch(run.finished_at),
        "updated_at": epoch(run.last_active_at),
        "deadline_at": epoch(run.deadline_at),
        "cancel_requested_at": epoch(run.cancel_requested_at),
        **_dispatch(run, runtime_id),
        "usage": run.usage,
        "cost": _cost(run),
        "metadata": run.metadata,
    }


def _dispatch(run: AgentRun, runtime_id: str) -> dict[str, Any]:
    # The claim's token is for its holder: `runners.host_api.control` adds it.
    return {
        "queue_name": run.queue_name or DEFAULT_QUEUE,
        "priority": run.priority,
        "requested_runtime_id": None,
        "claimed_by_runtime_id": runtime_id or None,
        "claim_token": None,
        "claim_lease_expires_at": epoch(run.claim_lease_expires_at),
        "dispatch_attempts": run.dispatch_attempts,
        "last_claimed_at": epoch(run.last_claimed_at),
    }


def _status(run: AgentRun) -> str:
    """Return the wire's status: a remote runtime has only `claimed` until a result."""
    is_held = run.claim_lease_expires_at is not None and run.status == RunStatus.RUNNING
    return CLAIMED if is_held and not run.last_runner_sequence else run.status


def _cost(run: AgentRun) -> dict[str, int] | None:
    if run.cost_microdollars is None:
        return None
    return {"microdollars": run.cost_microdollars}


def epoch(moment: datetime | None) -> int | None:
    """Return a time as the wire has it, in whole seconds."""
    return int(moment.timestamp()) if moment is not None else None
