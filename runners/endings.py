"""Ending a run from outside its owner, and starting what waited for its end."""

from collections.abc import Iterable

from runners.choices import RunStatus
from runners.ledger.batches import Ending, Written, end_run
from runners.models import AgentRun
from runners.wakes import wake_deliveries, wake_runs


def end_and_wake(
    run: AgentRun, ending: Ending, sources: Iterable[RunStatus] | None = None
) -> Written | None:
    """End a run and wake whom that concerns; None when another ended it first."""
    written = end_run(run.pk, run.conversation_id, ending, sources)
    if written is not None:
        wake_runs(written.promoted)
        wake_deliveries(written.deliveries)
    return written
