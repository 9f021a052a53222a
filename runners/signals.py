"""What happened, told to the code of the project around the host.

Each signal is sent after the commit of what it tells, so a receiver finds the rows.
Receivers run one after another on a thread kept for them in the process where it
happened: web or worker. They delay no request and no run, and what one raises is
logged and changes nothing. What a process has not told when it is killed is lost:
whoever must not miss anything reads the ledger.

| signal | sender | arguments |
|---|---|---|
| `event_received` | `EventLog` | `event_id event_type status run_id` |
| `run_started` | `AgentRun` | `run_id invocation` |
| `run_finished` | `AgentRun` | `run_id status error_code` |
| `action_requested` | `AgentRun` | `run_id action data` |
| `action_resolved` | `AgentRun` | `run_id action decision data` |
| `delivery_failed` | `Delivery` | `delivery_id run_id status reason` |

Ids are the public UUIDs. `status` of an event is `started`, `queued` or `ignored`, and
its `run_id` is None unless `started`; of a run its terminal status, with `error_code`
empty for `completed`; of a delivery `failed` or `uncertain`. A run that was paused
starts again, with the next `invocation`.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections, transaction
from django.db.models import Model
from django.dispatch import Signal

from runners.choices import EventType

if TYPE_CHECKING:
    from runners.ledger.batches import Batch
    from runners.models import AgentRun, Delivery, EventLog

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000  # further ones are dropped, and the log says so

event_received = Signal(use_caching=True)
run_started = Signal(use_caching=True)
run_finished = Signal(use_caching=True)
action_requested = Signal(use_caching=True)
action_resolved = Signal(use_caching=True)
delivery_failed = Signal(use_caching=True)


def tell_event_received(event: "EventLog", status: str, run: "AgentRun | None") -> None:
    """An event was accepted; call it where its transaction is or was."""
    named = {"event_id": event.public_id, "event_type": event.type}
    run_id = run.public_id if run else None
    _tell(event_received, event, **named, status=status, run_id=run_id)


def tell_run_started(run: "AgentRun", invocation: int) -> None:
    """A worker claimed a run; call it after the commit, from any thread or loop."""
    if run_started.has_listeners(type(run)):
        named = {"run_id": run.public_id, "invocation": invocation}
        _teller.submit(partial(run_started.send_robust, type(run), **named))


def tell_run_finished(run: "AgentRun") -> None:
    """A run ended, as its row says; call it in the transaction that ends it."""
    ending = {"status": str(run.status), "error_code": run.error_code}
    _tell(run_finished, run, run_id=run.public_id, **ending)


def tell_action_requested(
    run: "AgentRun", action: str, data: Mapping[str, Any]
) -> None:
    """A run asks for something; call it in the transaction that records it."""
    _tell(action_requested, run, run_id=run.public_id, action=action, data=data)


def tell_actions(batches: "Iterable[Batch]") -> None:
    """Tell what results ask for; call it in the transaction that writes them."""
    from runners.models import AgentRun

    if not action_requested.has_listeners(AgentRun):
        return
    for batch in batches:
        for event in batch.events:
            if event.type == EventType.ACTION_REQUESTED:
                run = AgentRun.objects.only("public_id").get(pk=batch.run_id)
                tell_action_requested(run, str(event.data["action"]), event.data)


def tell_action_resolved(
    run: "AgentRun", action: str, decision: str, data: Mapping[str, Any]
) -> None:
    """A person decided; call it in the transaction that records it."""
    named = {"run_id": run.public_id, "action": action}
    _tell(action_resolved, run, **named, decision=decision, data=data)


def tell_delivery_failed(delivery: "Delivery", reason: str) -> None:
    """A delivery ended undelivered, as its row says."""
    if delivery_failed.has_listeners(type(delivery)):  # else its run is not loaded
        run_id = delivery.run.public_id if delivery.run else None
        named = {"delivery_id": delivery.public_id, "run_id": run_id}
        status = str(delivery.status)
        _tell(delivery_failed, delivery, **named, status=status, reason=reason)


def _tell(signal: Signal, row: Model, **arguments: Any) -> None:
    sender = type(row)
    if signal.has_listeners(sender):  # nobody listens in most projects
        send = partial(signal.send_robust, sender, **arguments)
        transaction.on_commit(partial(_teller.submit, send), robust=True)


class _Teller:
    """Calls receivers in order, on one thread that is started when first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._lock = threading.Lock()
        self.is_synchronous = False

    def submit(self, send: partial[Any]) -> None:
        """Call the receivers soon."""
        if self.is_synchronous:
            send()
            return
        with self._lock:
            if self._waiting >= MOST_WAITING:
                logger.warning("a signal was dropped: its receivers are too slow")
                return
            self._waiting += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "signals")
            self._pool.submit(self._send, send)

    def _send(self, send: partial[Any]) -> None:
        try:
            close_old_connections()
            send()
        finally:
            close_old_connections()
            with self._lock:
                self._waiting -= 1


_teller = _Teller()


@contextmanager
def synchronous() -> Iterator[None]:
    """Call receivers at the commit itself, on its thread: for tests."""
    before, _teller.is_synchronous = _teller.is_synchronous, True
    try:
        yield
    finally:
        _teller.is_synchronous = before


__all__ = [
    "action_requested",
    "action_resolved",
    "delivery_failed",
    "event_received",
    "run_finished",
    "run_started",
    "synchronous",
]
