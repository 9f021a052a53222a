from celery import shared_task

from platforms.sending import sender
from runners.wakes import DELIVER


@shared_task(name=DELIVER, ignore_result=True)
def deliver(delivery_id: int) -> None:
    """Hand a delivery over to the sending threads."""
    sender().submit(delivery_id)
