"""Celery tasks of platforms: a handover to the process's sending threads."""

from celery import shared_task
from celery.signals import worker_shutting_down

from langbot.lib.handover import HandoverTask
from platforms.sending import sender
from runners.wakes import DELIVER


@shared_task(base=HandoverTask, name=DELIVER)
def deliver(delivery_ids: list[int]) -> None:
    """Hand deliveries over to the sending threads."""
    for delivery_id in delivery_ids:
        sender().submit(delivery_id)


@worker_shutting_down.connect
def _stop_sending(**_: object) -> None:
    sender().stop()
