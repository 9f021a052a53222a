"""A person leaves: what they said and what was made of it is removed everywhere.

In this order, so that it can be repeated after any failure: what waits is taken back,
what runs is ended, then the rows go, and at last names become pseudonyms. Numbers that
nobody can be told by (tokens, costs) stay.
"""

import logging
from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from agents.models import AgentVersion, OpenModelCall, PackageVersion, RunnerDescriptor
from artifacts.store import remove_rows
from langbot.core.audit import record_host_act
from langbot.core.audit_erasing import Traces, erase_from_audit
from langbot.core.authors import Author
from langbot.core.models import IdempotencyKey
from langbot.core.notices import Notification
from langbot.core.retention import delete_batches
from langbot.lib.redis import FAILURES, quick_client, run_inbound, run_live
from runners.choices import LIVE, RunStatus
from runners.endings import end_and_wake
from runners.ledger.batches import Ending
from runners.models import (
    AgentRun,
    Conversation,
    Delivery,
    EventLog,
    PendingAction,
    QueuedMessage,
    ToolGrant,
    TranscriptItem,
)
from runners.pending import cancel_message
from runners.people.persons import Holdings, Person, find_holdings, parts
from runners.people.traces import (
    files_of,
    limits_of,
    states_of,
    stored_values_of,
    traces_of,
    usage_of,
)
from runners.protocol.errors import ErrorCode
from runners.retention import remove_conversations, remove_runs

logger = logging.getLogger(__name__)

_ROUNDS = 5  # a person may go on speaking; what they say after the last one stays
# Columns with the names of people who operate agents.
_SIGNED: tuple[tuple[Any, str], ...] = (
    (AgentVersion, "author"),
    (PackageVersion, "author"),
    (RunnerDescriptor, "acknowledged_by"),
    (PendingAction, "decided_by_name"),
    (ToolGrant, "granted_by_name"),
    (ToolGrant, "revoked_by_name"),
)


def erase_person(person: Person, author: Author) -> dict[str, int]:
    """Remove everything that there is of a person; returns how many rows by name.

    Idempotent, and audited under the pseudonym. An account itself stays: removing it
    is an act of its own. Bytes of a file go unless another file is equal; somebody who
    uploads the same bytes in that very moment has to do it again.
    """
    counts: Counter[str] = Counter()
    traces, own = Traces(person.pseudonym, frozenset()), frozenset[int]()
    for _round in range(_ROUNDS):
        found = find_holdings(person, own)
        if _end_all(found):  # their ends were written down, too
            found = find_holdings(person, own)
        own |= found.keys["conversations"]
        traces = traces_of(found).with_objects(traces.objects)
        removed = _remove(found, traces)
        counts.update(removed)
        if not any(removed.values()):
            break
    counts["audit entries rewritten"] += erase_from_audit(traces, author)
    counts["names replaced"] += _sign_over(person)
    kept = {name: count for name, count in counts.items() if count}
    record_host_act(
        Author(traces.in_text(author), author.source),
        "person erased",
        {"person": person.pseudonym, "rows": kept},
    )
    return kept


def _end_all(found: Holdings) -> int:
    """Take back what waits, then end what runs: its end starts what waits.

    Returns how many ended.
    """
    ended = 0
    for page in found.pages("queued_messages"):
        for message in page:
            ended += cancel_message(message)
    reason = "the person was erased"
    for page in found.pages("runs"):
        for run in page.filter(status__in=LIVE).defer("snapshot"):
            ending = Ending(RunStatus.CANCELLED, ErrorCode.CANCELLED, reason)
            ended += end_and_wake(run, ending) is not None
    return ended


def _remove(found: Holdings, traces: Traces) -> dict[str, int]:
    """Remove rows before those that they refer to; one transaction each."""
    for run in found.values("runs", "public_id"):
        _forget_streams(run)
    usage = _unname(usage_of(found))
    removed = {
        "values of runners": delete_batches(states_of(found)),
        "values of plugins": delete_batches(stored_values_of(found)),
        "limits": sum(rows.delete()[0] for rows in limits_of(found.person)),
        "files": sum(remove_rows(page, 0.0) for page in list(files_of(found))),
        "usage records without name": usage,
        "kept answers": _remove_told(IdempotencyKey, traces, "owner", "answer"),
        "notices": _remove_told(Notification, traces, "key", "context"),
    }
    return removed | _remove_ledger(found)


def _remove_ledger(found: Holdings) -> dict[str, int]:
    removed: Counter[str] = Counter()
    plain = {
        "queued_messages": QueuedMessage,
        "deliveries": Delivery,
        "decisions": PendingAction,
        "messages": TranscriptItem,
    }
    for name, model in plain.items():
        removed[name] = _delete(model, found.keys[name])
    for part in parts(found.keys["runs"], 100):
        removed["runs"] += remove_runs(part)
    removed["events"] = _delete(EventLog, _without_runs(found.keys["events"]))
    removed["conversations"] = _delete_conversations(found.keys["conversations"])
    for part in parts(found.shared):
        titled = Conversation.objects.filter(pk__in=part).exclude(title="")
        removed["titles"] += titled.update(title="")
    return dict(removed)


def _delete(model: Any, keys: set[int]) -> int:
    rows = model._base_manager
    return sum(_gone(rows.filter(pk__in=part), model) for part in parts(keys))


@transaction.atomic
def _gone(rows: QuerySet[Any], model: Any) -> int:
    """Delete rows; returns how many of the model went, whatever went with them."""
    return rows.delete()[1].get(model._meta.label, 0)


def _without_runs(events: set[int]) -> set[int]:
    """Leave out the events that still have a run: it ends in the next round."""
    busy: set[int] = set()
    for part in parts(events):
        for model in (AgentRun, QueuedMessage):
            rows = model._base_manager.filter(event__in=part)
            busy |= set(rows.values_list("event_id", flat=True))
    return events - busy


def _delete_conversations(keys: set[int]) -> int:
    """Delete conversations that nothing refers to; others go in the next round."""
    return sum(remove_conversations(part) for part in parts(keys, 100))


def _unname(rows: QuerySet[Any]) -> int:
    """Leave tokens and costs to the workspace's totals, without whose they were."""
    named = rows.exclude(person="")
    keys = list(named.values_list("pk", "person"))
    # Past AppendOnlyQuerySet: what is written once is the numbers.
    QuerySet.update(named, person="")
    for person in {person for _, person in keys}:
        OpenModelCall.objects.filter(person=person).update(person="")
    return len(keys)


def _remove_told(model: Any, traces: Traces, *columns: str) -> int:
    """Delete short-lived rows that name the person or a row of theirs."""
    rows = model._default_manager.values_list("pk", *columns).iterator(500)
    told = [pk for pk, *values in rows if traces.are_in(values)]
    return int(model._default_manager.filter(pk__in=told).delete()[0])


def _forget_streams(run_id: Any) -> None:
    try:
        quick_client().delete(run_live(run_id), run_inbound(run_id))
    except FAILURES:
        logger.info("the live stream of %s ends by itself", run_id)


def _sign_over(person: Person) -> int:
    """Put the pseudonym where an account's name signs what was configured."""
    if not person.username:
        return 0
    changed = 0
    for model, column in _SIGNED:
        rows = model._base_manager.filter(**{column: person.username})
        changed += rows.update(**{column: person.pseudonym})
    return changed
