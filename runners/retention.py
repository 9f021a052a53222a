"""What the ledger forgets, by the periods of each workspace.

The order respects references: messages that waited, deliveries and decisions go before
runs, runs before their events, and an empty conversation last. What waits, runs or is
paused stays, with its event and its conversation, however old it is.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from langbot.core import retention
from langbot.core.retention import delete_batches, due_before, old_rows
from langbot.lib.models import lock_rows
from runners.choices import (
    LIVE,
    PASSING,
    TERMINAL,
    ActionStatus,
    DeliveryStatus,
    QueuedStatus,
)
from runners.ledger.claims import prune_nodes
from runners.models import (
    AgentRun,
    ClientCall,
    Conversation,
    Delivery,
    EventLog,
    HostCall,
    HostCallRefusal,
    PendingAction,
    QueuedMessage,
    RemoteRuntime,
    RunEvent,
    RunMetadata,
    RunnerState,
    ToolGrant,
    TranscriptItem,
    WorkerNode,
)
from runners.runtimes.registry import purge_gone

_TOGETHER = 100  # runs or conversations of one transaction: each has rows of its own
_OPEN_DELIVERIES = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
_DETAILS = (RunEvent, HostCall, ClientCall, HostCallRefusal, RunMetadata)

Remove = Callable[[list[int], datetime], int]


def purge_queued_messages() -> int:
    """Delete messages that waited and were answered or taken back."""

    def remove(keys: list[int], before: datetime) -> int:
        ended = QueuedMessage.objects.filter(pk__in=keys, ended_at__lt=before)
        over = ended.exclude(status=QueuedStatus.QUEUED)
        return over.exclude(run__status__in=LIVE).delete()[0]

    return _walk(QueuedMessage.objects.all(), "run_days", remove, "conversation__")


def purge_deliveries() -> int:
    """Delete replies that arrived or were given up."""

    def remove(keys: list[int], _before: datetime) -> int:
        rows = Delivery.objects.filter(pk__in=keys)
        return rows.exclude(status__in=_OPEN_DELIVERIES).delete()[0]

    return _walk(Delivery.objects.all(), "run_days", remove)


def purge_actions() -> int:
    """Delete decisions that were carried out; what waits for a person stays."""

    def remove(keys: list[int], before: datetime) -> int:
        rows = PendingAction.objects.filter(pk__in=keys, expires_at__lt=before)
        over = rows.exclude(status=ActionStatus.OPEN)
        return over.exclude(run__status__in=LIVE).delete()[0]

    return _walk(PendingAction.objects.all(), "run_days", remove)


def purge_runs() -> int:
    """Delete runs that ended, with their events and host calls; returns the runs."""
    return _walk(AgentRun.objects.all(), "run_days", _remove_runs)


def _remove_runs(keys: list[int], before: datetime) -> int:
    due = _unneeded_runs().filter(pk__in=keys, finished_at__lt=before)
    found = list(due.values_list("pk", flat=True))
    return sum(remove_runs(part) for part in _parts(found))


def _unneeded_runs() -> QuerySet[AgentRun]:
    """Return the runs that ended and that nothing open refers to."""
    mine = {"run": OuterRef("pk")}
    sending = Delivery.objects.filter(**mine, status__in=_OPEN_DELIVERIES)
    asking = PendingAction.objects.filter(**mine, status=ActionStatus.OPEN)
    children = AgentRun.objects.live().filter(parent=OuterRef("pk"))
    return AgentRun.objects.filter(status__in=TERMINAL).exclude(
        Exists(sending) | Exists(asking) | Exists(children)
    )


def remove_runs(keys: list[int]) -> int:
    """Delete these ended runs, the many rows of each in batches before it."""
    for detail in _DETAILS:
        delete_batches(detail._base_manager.filter(run__in=keys))
    with transaction.atomic():
        held = lock_rows(AgentRun.objects.filter(pk__in=keys, status__in=TERMINAL))
        gone = AgentRun.objects.filter(pk__in=[run.pk for run in held]).delete()
    return gone[1].get(AgentRun._meta.label, 0)


def purge_events() -> int:
    """Delete events that no run and no waiting message needs."""

    def remove(keys: list[int], _before: datetime) -> int:
        rows = EventLog.objects.filter(pk__in=keys, runs=None, queued_message=None)
        free = list(rows.values_list("pk", flat=True))
        return EventLog.objects.filter(pk__in=free).purge()

    return _walk(EventLog.objects.all(), "run_days", remove)


def purge_transcripts() -> int:
    """Delete what was said, except in conversations where something is open."""
    rows = TranscriptItem.objects.all()
    said = _walk(rows, "message_days", _remove_said, "conversation__")
    passing = rows.filter(conversation__kind__in=PASSING)
    return said + _walk(passing, "run_days", _remove_said, "conversation__")


def _remove_said(keys: list[int], _before: datetime) -> int:
    here = {"conversation": OuterRef("conversation")}
    live = AgentRun.objects.live().filter(**here)
    waiting = QueuedMessage.objects.waiting().filter(**here)
    rows = TranscriptItem.objects.filter(pk__in=keys)
    return rows.exclude(Exists(live) | Exists(waiting)).purge()


def purge_conversations() -> int:
    """Delete conversations in which nothing is left; those of one call with its run."""
    passing = Q(kind__in=PASSING)
    rows = Conversation.objects
    return _walk(rows.exclude(passing), "message_days", _remove_empty) + _walk(
        rows.filter(passing), "run_days", _remove_empty
    )


def _remove_empty(keys: list[int], before: datetime) -> int:
    silent = empty_conversations().filter(pk__in=keys, updated_at__lt=before)
    found = list(silent.values_list("pk", flat=True))
    return sum(map(remove_conversations, _parts(found)))


def remove_conversations(keys: list[int]) -> int:
    """Delete those of the conversations that are empty once they are locked."""
    with transaction.atomic():
        # Admission holds this lock while it writes; what it wrote is seen only after.
        held = lock_rows(Conversation.objects.filter(pk__in=keys))
        still = empty_conversations().filter(pk__in=[row.pk for row in held])
        empty = list(still.values_list("pk", flat=True))
        gone = Conversation.objects.filter(pk__in=empty).delete()
    return gone[1].get(Conversation._meta.label, 0)


def empty_conversations() -> QuerySet[Conversation]:
    """Return the conversations that no row of the ledger refers to."""
    here = {"conversation": OuterRef("pk")}
    parts = (AgentRun, EventLog, TranscriptItem, Delivery, QueuedMessage, PendingAction)
    rows = Conversation.objects.all()
    for model in parts:
        rows = rows.exclude(Exists(model._default_manager.filter(**here)))
    return rows


def purge_states() -> int:
    """Delete values whose time is over, and those that nobody wrote for too long."""
    removed = delete_batches(RunnerState.objects.filter(expires_at__lt=Now()))
    for workspace, before in due_before("state_days").items():
        old = RunnerState.objects.filter(workspace=workspace, updated_at__lt=before)
        removed += delete_batches(old)
    return removed


def _walk(rows: QuerySet[Any], period: str, remove: Remove, path: str = "") -> int:
    """Apply `remove` to the old rows of each workspace; returns how many went."""
    removed = 0
    for workspace, before in due_before(period).items():
        for keys in old_rows(rows.filter(**{f"{path}workspace": workspace}), before):
            removed += remove(keys, before)
    return removed


def _parts(keys: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]


def _labels(*models: type) -> list[str]:
    return [f"langbot_runners.{model.__name__}" for model in models]


def register_ledger() -> None:
    """Register the rules of this app; called when Django is ready."""
    steps: tuple[tuple[str, Callable[[], int], list[type]], ...] = (
        ("queued messages", purge_queued_messages, [QueuedMessage]),
        ("deliveries", purge_deliveries, [Delivery]),
        ("decisions", purge_actions, [PendingAction]),
        ("runs", purge_runs, [AgentRun, *_DETAILS]),
        ("events", purge_events, [EventLog]),
        ("messages", purge_transcripts, [TranscriptItem]),
        ("conversations", purge_conversations, [Conversation]),
    )
    for order, (name, purge, models) in enumerate(steps, 10):
        retention.register(name, purge, *_labels(*models), order=order)
    retention.register("runner state", purge_states, *_labels(RunnerState))
    retention.register("worker nodes", prune_nodes, *_labels(WorkerNode))
    retention.register("remote runtimes", purge_gone, *_labels(RemoteRuntime))
    reason = "people give and take them; one of a conversation goes with it"
    retention.keep(reason, *_labels(ToolGrant))
