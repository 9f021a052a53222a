"""Celery tasks of runs: a handover to the worker's one loop, nothing more."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from langbot.lib.handover import HandoverTask
from runners.engine.process import engine_process
from runners.wakes import CARRY_OUT, EXECUTE_RUNS, RUNS


@shared_task(base=HandoverTask, name=EXECUTE_RUNS, queue=RUNS)
def execute_runs(run_ids: list[int]) -> None:
    """Offer the runs to this process's engine."""
    engine_process().offer(run_ids)


@shared_task(base=HandoverTask, name=CARRY_OUT, queue=RUNS)
def carry_out(action_ids: list[int]) -> None:
    """Have this process's engine look for what people decided about paused runs."""
    engine_process().look_for_decisions()


@worker_ready.connect
def _start_engine(sender: Any, **_: object) -> None:
    # A project's other workers import these tasks too, and carry no runs.
    if RUNS in sender.app.amqp.queues.consume_from:
        engine_process().start()


@worker_shutting_down.connect
def _stop_engine(**_: object) -> None:
    engine_process().stop()
