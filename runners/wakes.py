"""Names of the tasks that other processes are woken with, and their queues."""

from collections.abc import Iterable

from langbot.lib.wake import wake

EXECUTE_RUNS = "runners.execute_runs"
CARRY_OUT = "runners.carry_out"
DELIVER = "platforms.deliver"
RUNS, OPS = "runs", "ops"


def wake_runs(run_ids: Iterable[int]) -> None:
    """Tell a worker that these queued runs wait."""
    wake(EXECUTE_RUNS, run_ids, queue=RUNS)


def wake_actions(action_ids: Iterable[int]) -> None:
    """Tell a worker that these actions of paused runs are decided."""
    wake(CARRY_OUT, action_ids, queue=RUNS)


def wake_deliveries(delivery_ids: Iterable[int]) -> None:
    """Tell the outbox that these deliveries are due."""
    wake(DELIVER, delivery_ids, queue=OPS)
