"""What a run's snapshot says, read so that one of another shape hinders no end."""

from typing import Any

from runners.ledger.runs import AgentRun


def frozen_access(run: AgentRun) -> dict[str, Any]:
    """Return the frozen rights of a run; empty before its first claim, or unreadable.

    For what comes after a run: it has to end whatever its snapshot holds. Who starts
    or serves one reads it by `runners.engine.snapshot`, which raises.
    """
    return _frozen(run, "access")


def frozen_delivery(run: AgentRun) -> dict[str, Any]:
    """Return the frozen delivery policy of a run, empty in the same cases."""
    return _frozen(run, "delivery_policy")


def _frozen(run: AgentRun, name: str) -> dict[str, Any]:
    part = run.snapshot.get(name) if isinstance(run.snapshot, dict) else None
    return part if isinstance(part, dict) else {}
