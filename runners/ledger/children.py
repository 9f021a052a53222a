"""The end of a run is the end of what it asked other agents for."""

from functools import partial
from typing import Any

from django.db import transaction

from runners.agent_tools import RESULT_TOOL
from runners.choices import TERMINAL, RunStatus
from runners.ledger.frozen import frozen_access
from runners.ledger.lineage import ORIGIN
from runners.ledger.runs import AgentRun

REASON = "the run that asked for it has ended"
_TOGETHER = 100
# A run that ended well may leave work to look after in a later turn.
_STOPS = tuple(status for status in TERMINAL if status != RunStatus.COMPLETED)


def stop_after(run: AgentRun) -> None:
    """Stop the sub-runs of a run that ends now, after the commit of its end.

    A run without the tools for it, which its snapshot knows, costs nothing. What a
    crash in between leaves is found by `stop_orphans`.
    """
    tools = frozen_access(run).get("tools") or ()
    if run.status in _STOPS and RESULT_TOOL in tools:
        transaction.on_commit(partial(_stop_children, run.pk), robust=True)


def stop_orphans() -> int:
    """Stop live sub-runs whose asking run has ended, but not well; returns how many.

    One that a person tries again since is theirs: its origin is another.
    """
    orphans = AgentRun.objects.live().filter(
        parent__status__in=_STOPS,
        origin__startswith=ORIGIN,
        cancel_requested_at=None,
    )
    return _stop(orphans)


def _stop_children(run_id: int) -> int:
    children = AgentRun.objects.live().filter(parent=run_id, cancel_requested_at=None)
    return _stop(children)


def _stop(runs: Any) -> int:
    from runners.services import request_cancel  # it builds on the end of runs

    found = list(runs.defer("snapshot").order_by("pk")[:_TOGETHER])
    return sum(request_cancel(run, REASON) for run in found)
