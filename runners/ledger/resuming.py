"""What a run that goes on after a pause is told of the decisions."""

from typing import Any

from runners.ledger.actions import PendingAction
from runners.ledger.runs import AgentRun


def decisions_of(run: AgentRun) -> dict[str, Any]:
    """Return `metadata.resume`: the calls that the run was paused for, oldest first.

    `{"invocation", "actions": [{"action_id", "tool_call_id", "tool_name", "arguments",
    "decision", "reason", "result"?, "error"?}]}`; `invocation` is the new one. The
    arguments are those that were executed.
    """
    done = PendingAction.objects.filter(
        run=run, parked=True, invocation=run.invocation - 1, settled_at__isnull=False
    )
    return {
        "invocation": run.invocation,
        "actions": [_told(action) for action in done.order_by("pk")],
    }


def _told(action: PendingAction) -> dict[str, Any]:
    given = action.decision or {}
    return {
        "action_id": str(action.public_id),
        "tool_call_id": action.tool_call_id,
        "tool_name": action.tool_name,
        "arguments": given.get("args") or action.arguments,
        "decision": given.get("decision", ""),
        "reason": given.get("reason", ""),
        **(action.answer or {}),
    }
