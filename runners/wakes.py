"""Names of the tasks that other processes are woken with, and their queues."""

from collections.abc import Iterable

from langbot.lib.wake import wake

EXECUTE_RUN = "runners.execute_run"
DELIVER = "platforms.deliver"


def wake_runs(run_ids: Iterable[int]) -> None:
    """Tell a worker that these queued runs wait."""
    for run_id in run_ids:
        wake(EXECUTE_RUN, run_id, queue="runs")


def wake_deliveries(delivery_ids: Iterable[int]) -> None:
    """Tell the outbox that these deliveries are due."""
    for delivery_id in delivery_ids:
        wake(DELIVER, delivery_id, queue="ops")
