"""Celery tasks of runs: a handover to the worker's one loop, nothing more."""

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from runners.engine.process import engine_process
from runners.wakes import EXECUTE_RUN


@shared_task(name=EXECUTE_RUN, queue="runs", ignore_result=True)
def execute_run(run_id: int) -> None:
    """Offer the run to this process's engine."""
    engine_process().offer(run_id)


@worker_ready.connect
def _start_engine(**_: object) -> None:
    engine_process().start()


@worker_shutting_down.connect
def _stop_engine(**_: object) -> None:
    engine_process().stop()
