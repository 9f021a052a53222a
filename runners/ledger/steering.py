"""What the ledger of a run says of messages that reach it while it works (LB-85).

`steering.queued` when one begins to wait for the run, then `steering.injected` when
its runner pulls it, or `steering.dropped` with a reason: `run_ended` (the message is
answered by a later turn) or `cancelled` (a person took it back). Nothing is lost
without a word.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django.db import transaction

from agents.models import RunnerDescriptor
from runners.choices import LIVE, EventType, QueuedStatus, QueueMode
from runners.ledger.conversations import QueuedMessage
from runners.ledger.fence import Fence, NewEvent, insert_events, pass_fence
from runners.ledger.runs import AgentRun
from runners.ledger.turns import is_message

RUN_ENDED = "run_ended"
TAKEN_BACK = "cancelled"
ABSORBED = "absorbed_into_active_run"
CAPABILITY = "steering"


def can_be_steered(run: AgentRun) -> bool:
    """Whether a live run takes messages up while it works, as its runner declares.

    A run that is being stopped takes nothing up any more. Asks the frozen rights, or
    the runner as it is now where the run was not claimed yet.
    """
    if run.cancel_requested_at is not None:
        return False
    frozen = AgentRun.objects.filter(pk=run.pk, snapshot__isnull=False)
    known = frozen.values_list("snapshot__access__capabilities", flat=True).first()
    if known is not None:
        return bool(known.get(CAPABILITY))
    runners = RunnerDescriptor.objects.filter(runner_id=run.runner_id)
    declared = runners.values_list("capabilities", flat=True).first()
    return bool((declared or {}).get(CAPABILITY))


def may_reach(run: AgentRun, message: QueuedMessage) -> bool:
    """Whether a waiting message could be taken up by this run."""
    return (
        message.agent_id == run.agent_id
        and message.dry_run == run.dry_run
        and message.mode in {QueueMode.ENQUEUE, QueueMode.STEERING}
        and is_message(message.event)
    )


def announce(run: AgentRun, messages: Sequence[QueuedMessage]) -> None:
    """Tell a live run's ledger that messages wait for it.

    The conversation's row must be locked, so that the run cannot end meanwhile.
    """
    keys = [message.pk for message in messages]
    QueuedMessage.objects.filter(pk__in=keys).update(
        mode=QueueMode.STEERING, meets=run.pk
    )
    add_event(run, NewEvent(EventType.STEERING_QUEUED, {"messages": told(messages)}))


def announce_waiting(run: AgentRun, waiting: Sequence[QueuedMessage]) -> None:
    """Tell a run that has just been opened what waits behind it, where it may pull."""
    reached = []
    for message in waiting:
        if not may_reach(run, message):
            break
        reached.append(message)
    if reached and can_be_steered(run):
        announce(run, reached)


def add_event(run: AgentRun, event: NewEvent) -> bool:
    """Append to the ledger of a live run from outside its owner; False when it ended.

    Call inside a transaction; subscribers are told after the commit.
    """
    seqs = pass_fence([Fence(run.pk, None, 1)], sources=LIVE)
    if not seqs:
        return False
    seq = seqs[run.pk]
    insert_events([(run.pk, seq, run.invocation, event)])
    tell = partial(_publish, run, seq, event)
    transaction.on_commit(tell, robust=True)
    return True


def _publish(run: AgentRun, seq: int, event: NewEvent) -> None:
    from runners.runtimes.live import publish  # it stands on the ledger

    publish(run.public_id, seq, [event])


def dropped_at_end(run_id: int, conversation_id: int) -> NewEvent | None:
    """Return what a run's ledger says of messages that it did not take up.

    They stay where they are and are answered next. The conversation must be locked.
    """
    left = QueuedMessage.objects.waiting().filter(
        conversation=conversation_id, mode=QueueMode.STEERING, meets=run_id
    )
    messages = list(left.select_related("event").order_by("pk"))
    if not messages:
        return None
    return NewEvent(
        EventType.STEERING_DROPPED,
        {"reason": RUN_ENDED, "messages": told(messages)},
    )


def drop_taken_back(message: QueuedMessage) -> None:
    """Tell the run that waited for a message that a person took it back."""
    if message.mode != QueueMode.STEERING or message.meets is None:
        return
    run = AgentRun.objects.live().filter(pk=message.meets).defer("snapshot").first()
    if run is not None:
        data = {"reason": TAKEN_BACK, "messages": told([message])}
        add_event(run, NewEvent(EventType.STEERING_DROPPED, data))


def steering_of(message: QueuedMessage) -> dict[str, Any] | None:
    """Return the audit of a message that a run took up, or was to; else None.

    Events are written once, so it is made of the message's own row.
    """
    run = message.run if message.status == QueuedStatus.INJECTED else None
    if run is None and message.mode != QueueMode.STEERING:
        return None
    return {
        "status": message.status,
        "trigger_behavior": ABSORBED if run is not None else None,
        "claimed_by_run_id": str(run.public_id) if run is not None else None,
        "claimed_runner_id": run.runner_id if run is not None else None,
        "claimed_at": message.ended_at if run is not None else None,
    }


def told(messages: Iterable[QueuedMessage]) -> list[dict[str, Any]]:
    """Return messages as the events of a ledger name them."""
    return [
        {
            "message_id": str(message.public_id),
            "event_id": message.event.event_id,
            "text": message.event.input_summary,
        }
        for message in messages
    ]
