"""Tells workers that a row waits, after commit and without ever failing the caller.

The row is the truth: a worker finds it by polling within 2 s when this is lost.
"""

import logging
import threading
import time

from celery import Celery, current_app
from django.db import transaction
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from langbot.lib.conf import conf
from langbot.lib.redis import FAILURES

logger = logging.getLogger(__name__)

_OPEN_SECONDS = 5.0  # after a failure nobody tries again for this long


class CircuitBreaker:
    """Skips calls for a while after one failed. Thread-safe."""

    def __init__(self, open_seconds: float) -> None:
        self._open_seconds = open_seconds
        self._closed_after = 0.0
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Whether a call may be tried now."""
        with self._lock:
            return time.monotonic() >= self._closed_after

    def trip(self) -> None:
        """Refuse calls for `open_seconds`."""
        with self._lock:
            self._closed_after = time.monotonic() + self._open_seconds


_breaker = CircuitBreaker(_OPEN_SECONDS)


def wake(task: str, row_id: int, *, queue: str) -> None:
    """Send `task(row_id)` once the current transaction has committed."""
    transaction.on_commit(lambda: _send(task, row_id, queue), robust=True)


def _send(task: str, row_id: int, queue: str) -> None:
    if not _breaker.allows():
        return
    try:
        _celery().send_task(
            task, args=(row_id,), queue=queue, retry=False, ignore_result=True
        )
    except (OperationalError, *FAILURES) as error:
        _breaker.trip()
        logger.warning("wake of %s failed: %s", task, type(error).__name__)


def _celery() -> Celery:
    name = conf().celery_app
    app: Celery = import_string(name) if name else current_app
    return app
