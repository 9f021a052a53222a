"""What edges may do to runs."""

from datetime import UTC, datetime

from runners.choices import LIVE, RunStatus
from runners.endings import end_and_wake
from runners.hints import hint_worker
from runners.ledger.batches import Ending
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode

NOT_STARTED = (RunStatus.CREATED, RunStatus.QUEUED, RunStatus.REQUIRES_ACTION)


def request_cancel(run: AgentRun, reason: str) -> bool:
    """Cancel a run; False when it has ended already.

    One that no worker carries ends at once. For a running one its worker is told, and
    a sweep ends it if nobody does within 5 s. Each keeps what was said so far.
    """
    ending = Ending(RunStatus.CANCELLED, ErrorCode.CANCELLED, reason or "cancelled")
    if end_and_wake(run, ending, NOT_STARTED) is not None:
        return True
    return ask_to_stop(run, reason) or run.status in LIVE


def ask_to_stop(run: AgentRun, reason: str) -> bool:
    """Mark a live run as to be stopped; False when it is already, or has ended.

    Its worker is told after the commit of what this is part of. Refreshes `run`.
    """
    asked = AgentRun.objects.filter(
        pk=run.pk, status__in=LIVE, cancel_requested_at=None
    ).update(cancel_requested_at=datetime.now(UTC), cancel_reason=reason[:200])
    run.refresh_from_db(fields=["status", "node"])
    if asked and run.node is not None:
        hint_worker(run.node, "cancel", run.public_id)
    return bool(asked)
