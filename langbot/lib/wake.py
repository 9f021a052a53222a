"""Tells workers that a row waits, after commit and without ever failing the caller.

The row is the truth: a worker finds it by polling within 2 s when this is lost.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from celery import Celery, current_app
from django.db import transaction
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from langbot.lib.conf import conf
from langbot.lib.redis import FAILURES

logger = logging.getLogger(__name__)

_OPEN_SECONDS = 5.0  # after a failure nobody tries again for this long
# A message costs sender and worker about 1 ms. Who sends one run after the other meets
# no pause: a run takes longer.
_PAUSE_FACTOR = 30
_LONGEST_PAUSE_SECONDS = 0.05


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


class Waker:
    """Sends from one thread of its own, so that no request waits for the broker.

    What comes while a message is being sent, and some thirty times as long after it,
    goes out together in the next one: load makes messages larger instead of more.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._breaker = CircuitBreaker(_OPEN_SECONDS)
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], list[int]] = {}
        # Its thread ends with the process, and what waits is sent before.
        self._thread = ThreadPoolExecutor(1, "wake")

    def add(self, task: str, queue: str, row_ids: Iterable[int]) -> None:
        """Have `task(row_ids)` sent."""
        if getattr(_celery(), "sends_at_once", False):  # of `langbot_testing`
            self._send(task, queue, list(row_ids))
            return
        with self._lock:
            is_idle = not self._waiting
            self._waiting.setdefault((task, queue), []).extend(row_ids)
        if is_idle:
            self._thread.submit(self._send_all)

    def _send_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        begun = time.thread_time()
        for (task, queue), row_ids in waiting.items():
            self._send(task, queue, row_ids)
        spent = time.thread_time() - begun
        time.sleep(min(_PAUSE_FACTOR * spent, _LONGEST_PAUSE_SECONDS))

    def _send(self, task: str, queue: str, row_ids: list[int]) -> None:
        if not self._breaker.allows():
            return
        try:
            _celery().send_task(
                task,
                args=(row_ids,),
                queue=queue,
                retry=False,
                ignore_result=True,
                argsrepr="",  # nobody reads what they would look like
                kwargsrepr="",
            )
        except (OperationalError, *FAILURES) as error:
            self._breaker.trip()
            logger.warning("wake of %s failed: %s", task, type(error).__name__)
        except Exception:  # nobody looks at the thread's result
            logger.exception("wake of %s failed", task)


_waker = Waker()


def _restart() -> None:
    """Give a forked child a sender of its own; its parent's thread is not there."""
    global _waker  # noqa: PLW0603 - fork copied the parent's state
    _waker = Waker()


os.register_at_fork(after_in_child=_restart)


def wake(task: str, row_ids: Iterable[int], *, queue: str) -> None:
    """Send `task(row_ids)` once the current transaction has committed."""
    given = list(row_ids)
    if given:
        transaction.on_commit(lambda: _waker.add(task, queue, given), robust=True)


def _celery() -> Celery:
    name = conf().celery_app
    app: Celery = import_string(name) if name else current_app
    return app
