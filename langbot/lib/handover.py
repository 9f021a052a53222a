"""The base of Celery tasks that only hand row ids over."""

from typing import Any

from celery import Task


class HandoverTask(Task[Any, None]):
    """Keeps no result, and is not acknowledged where its queue asks for none."""

    abstract = True
    ignore_result = True
    # By name: only workers need what it imports.
    Request = "langbot.lib.unacknowledged:Unacknowledged"
