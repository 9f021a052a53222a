"""What a run's snapshot says, read so that one of another shape hinders no end."""

from typing import Any

from runners.ledger.runs import AgentRun


def frozen_access(run: AgentRun) -> dict[str, Any]:
    """Return the frozen rights of a run; empty before its first claim, or unreadable.

    For what comes after a run: it has to end whatever its snapshot holds. Who starts
    or serves one reads it by `runners.engine.snapshot`, which raises.
    """
    access = run.snapshot.get("access") if isinstance(run.snapshot, dict) else None
    return access if isinstance(access, dict) else {}
