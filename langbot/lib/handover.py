"""Celery tasks that only hand row ids over, and how a worker takes their messages."""

import logging
from collections.abc import Callable
from typing import Any

from celery import Task

logger = logging.getLogger(__name__)


class HandoverTask(Task[Any, None]):
    """Keeps no result, and is executed by the thread that receives its message.

    What it does must not block: it hands the ids to a loop or to threads.
    """

    abstract = True
    ignore_result = True
    Strategy = "langbot.lib.handover:take_at_once"


def take_at_once(
    task: HandoverTask, app: Any, consumer: Any, **_: Any
) -> Callable[..., None]:
    """Return what Celery calls with each message of the task.

    Celery's own way makes a request, a job of its pool and a trace of each: a
    millisecond, a third of which is spent waiting for the pool's thread.
    """

    def take(message: Any, _body: Any, ack: Any, *_: Any, **__: Any) -> None:
        try:
            args, kwargs, _embedded = message.payload
            task.run(*args, **kwargs)
        except Exception:  # the rows are polled; the worker's consumer must go on
            logger.exception("a message of %s was not taken", task.name)
        if not _asks_for_none(app, message):
            ack(logger, consumer.connection_errors)

    return take


def _asks_for_none(app: Any, message: Any) -> bool:
    """Whether its queue wants no acknowledgement, from which Redis learns nothing."""
    queue = app.amqp.queues.get(message.delivery_info.get("routing_key"))
    return queue is not None and bool(queue.no_ack)
