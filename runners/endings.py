"""Ending a run from outside its owner, and starting what waited for its end."""

from collections.abc import Iterable
from functools import partial

from runners.choices import RunStatus
from runners.ledger.batches import Ending, Written, end_run
from runners.models import AgentRun
from runners.runtimes.replies import said_so_far
from runners.wakes import wake_deliveries, wake_runs


def end_and_wake(
    run: AgentRun,
    ending: Ending,
    sources: Iterable[RunStatus] | None = None,
    *,
    keeps_words: bool = True,
) -> Written | None:
    """End a run and wake whom that concerns; None when another ended it first.

    What it had said is its reply, marked incomplete, unless nobody is to have it.
    """
    said = partial(said_so_far, run) if keeps_words else None
    written = end_run(run.pk, run.conversation_id, ending, sources, said)
    if written is not None:
        wake_runs(written.promoted)
        wake_deliveries(written.deliveries)
    return written
