"""What the ledger has of a person goes, batch by batch.

It may be stopped after any batch and begun anew: nothing goes before what is found by
it. So sub-runs go before the runs that began them, and with the last run of a
conversation of the person's own its events and itself.
"""

import logging
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from langbot.lib.redis import FAILURES, quick_client, run_inbound, run_live
from runners.ledger.lineage import SOURCE
from runners.models import (
    AgentRun,
    Conversation,
    Delivery,
    EventLog,
    PendingAction,
    QueuedMessage,
    TranscriptItem,
)
from runners.people.persons import Holdings, parts, pick
from runners.retention import remove_conversations, remove_runs

logger = logging.getLogger(__name__)

Batch = dict[str, int]  # how many rows went, by name
_TOGETHER = 100  # runs or conversations: each has many rows
_PLAIN = {
    "queued_messages": QueuedMessage,
    "deliveries": Delivery,
    "decisions": PendingAction,
    "messages": TranscriptItem,
}


def remove_ledger(found: Holdings) -> Iterator[Batch]:
    """Remove what was found, yielding after each batch what went with it."""
    for part in parts(found.shared):
        titled = Conversation.objects.filter(pk__in=part).exclude(title="")
        yield {"titles": titled.update(title="")}
    for name, model in _PLAIN.items():
        for part in parts(found.keys[name]):
            yield {name: _delete(model, part)}
    runs = sorted(found.keys["runs"], reverse=True)  # sub-runs are the younger ones
    for start in range(0, len(runs), _TOGETHER):
        yield _remove_runs(runs[start : start + _TOGETHER], found)
    for part in parts(found.keys["conversations"], _TOGETHER):
        yield _remove_places(set(part))
    for part in parts(found.keys["events"]):
        yield {"events": _remove_events(set(part))}


def _remove_runs(keys: list[int], found: Holdings) -> Batch:
    runs = AgentRun.objects.filter(pk__in=keys)
    columns = ("public_id", "event", "conversation", "invocation")
    named = list(runs.values_list(*columns))
    own = found.keys["conversations"]
    places = {conversation for _id, _event, conversation, _count in named} & own
    said = pick(EventLog, "source", {f"{SOURCE}{run}" for run, *_ in named})
    events = said | {event for _id, event, *_ in named}
    for run, *_, invocations in named:
        _forget_streams(run, invocations)
    gone = remove_runs(keys)
    busy = AgentRun.objects.filter(conversation__in=places).order_by()
    rest = _remove_places(places - set(busy.values_list("conversation", flat=True)))
    others = EventLog.objects.filter(pk__in=events & found.keys["events"])
    of_others = set(
        others.exclude(conversation__in=places).values_list("pk", flat=True)
    )
    rest["events"] += _remove_events(of_others)
    return {"runs": gone, **rest}


def _remove_places(keys: set[int]) -> Batch:
    """Remove conversations of the person's own with all of their events.

    Those that something still refers to go in the next round.
    """
    events = _remove_events(pick(EventLog, "conversation", keys))
    return {"events": events, "conversations": remove_conversations(sorted(keys))}


def _remove_events(keys: set[int]) -> int:
    """Remove events but those that still have a run: it ends in the next round."""
    return sum(_delete(EventLog, part) for part in parts(_without_runs(keys)))


def _without_runs(events: set[int]) -> set[int]:
    busy: set[int] = set()
    for part in parts(events):
        for model in (AgentRun, QueuedMessage):
            rows: QuerySet[Any] = model._base_manager.filter(event__in=part)
            busy |= set(rows.values_list("event_id", flat=True))
    return events - busy


@transaction.atomic
def _delete(model: Any, keys: list[int]) -> int:
    """Delete rows; returns how many of the model went, whatever went with them."""
    gone = model._base_manager.filter(pk__in=keys).delete()
    return int(gone[1].get(model._meta.label, 0))


def _forget_streams(run_id: Any, invocations: int) -> None:
    inbound = [run_inbound(run_id, number + 1) for number in range(invocations)]
    try:
        quick_client().delete(run_live(run_id), *inbound)
    except FAILURES:
        logger.info("the live stream of %s ends by itself", run_id)


__all__ = ["Batch", "remove_ledger"]
