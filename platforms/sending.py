"""The threads of a worker that send: no Celery thread ever waits for a platform."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import Error, close_old_connections

from langbot.lib.db import with_fresh_connection
from platforms import outbox

logger = logging.getLogger(__name__)

THREADS = 8
WAITING = 200  # handed over and not begun; the sweep brings the rest later
_IN_A_ROW = 20  # of one target, before another gets the thread


class Sender:
    """Sends deliveries on a few threads. Thread-safe."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, "deliver")
        self._ids: set[int] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def submit(self, delivery_id: int) -> bool:
        """Hand over one delivery; False when it is here already or too many are."""
        with self._lock:
            refused = self._stopped or delivery_id in self._ids
            if refused or len(self._ids) >= WAITING:
                return False
            self._ids.add(delivery_id)
            self._pool.submit(self._work, delivery_id)
            return True

    def stop(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        with self._lock:
            self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, delivery_id: int) -> None:
        following = None
        try:
            following = self._send_in_order(delivery_id)
        except Error:
            # Nothing is lost: the row is claimable, or will be when its claim ends.
            logger.exception("delivery %s was interrupted", delivery_id)
        finally:
            close_old_connections()
            with self._lock:
                self._ids.discard(delivery_id)
        if following is not None:
            self.submit(following)

    def _send_in_order(self, first: int) -> int | None:
        """Send one and what waited behind it; returns what is left to go on with."""
        current: int | None = first
        for _ in range(_IN_A_ROW):
            if current is None or self._stopped:
                return None
            delivery = outbox.deliver(current)
            if delivery is None:
                return None
            current = with_fresh_connection(outbox.following, delivery)
        return current


_sender: Sender | None = None
_sender_lock = threading.Lock()


def sender() -> Sender:
    """Return this process's sender."""
    global _sender  # noqa: PLW0603 - one pool of threads per process, made on first use
    with _sender_lock:
        if _sender is None:
            _sender = Sender()
        return _sender


def send_due() -> int:
    """Hand over what is due; returns how many were new here. Call every 2 s."""
    return sum(sender().submit(delivery_id) for delivery_id in outbox.due())
