"""What a run's snapshot says, read so that one of another shape hinders no end."""

from typing import Any

from runners.ledger.runs import AgentRun

_DELIVERY = "delivery_policy"


def frozen_access(run: AgentRun) -> dict[str, Any]:
    """Return the frozen rights of a run; empty before its first claim, or unreadable.

    For what comes after a run: it has to end whatever its snapshot holds. Who starts
    or serves one reads it by `runners.engine.snapshot`, which raises.
    """
    return _part(run.snapshot, "access")


def frozen_delivery(run: AgentRun) -> dict[str, Any]:
    """Return the frozen delivery policy of a run, empty in the same cases."""
    return _part(run.snapshot, _DELIVERY)


def shows_thoughts(snapshot: Any) -> bool:
    """Whether others than the people who operate the agent see what it thinks."""
    return bool(_part(snapshot, _DELIVERY).get("show_reasoning", True))


def _part(snapshot: Any, name: str) -> dict[str, Any]:
    part = snapshot.get(name) if isinstance(snapshot, dict) else None
    return part if isinstance(part, dict) else {}
