"""A person leaves: what they said and what was made of it is removed everywhere.

In this order, so that it can be stopped and repeated at any time: what waits is taken
back, what runs is ended, names in the audit log become pseudonyms while it is known
which rows it speaks of, and then the rows go, those before others by which they are
found. Numbers that nobody can be told by (tokens, costs) stay.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from agents.models import (
    AgentVersion,
    OpenModelCall,
    PackageVersion,
    RunnerDescriptor,
    UsageRecord,
)
from artifacts.store import remove_rows
from langbot.core.audit import record_host_act
from langbot.core.audit_erasing import Traces, erase_from_audit
from langbot.core.authors import Author
from langbot.core.models import IdempotencyKey
from langbot.core.notices import Notification
from langbot.core.retention import delete_batches
from runners.choices import LIVE, RunStatus
from runners.endings import end_and_wake
from runners.ledger.batches import Ending
from runners.models import PendingAction, ToolGrant
from runners.pending import cancel_message
from runners.people.persons import Holdings, Person, find_holdings, parts
from runners.people.removing import Batch, remove_ledger
from runners.people.traces import (
    audited_in,
    files_of,
    limits_of,
    states_of,
    stored_values_of,
    traces_of,
    usage_of,
    words_of,
)
from runners.protocol.errors import ErrorCode

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


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows went, by name, and whether that was all of them."""

    rows: dict[str, int]
    is_finished: bool


def erase_person(person: Person, author: Author) -> dict[str, int]:
    """Remove everything that there is of a person; returns how many rows by name.

    Idempotent, and audited under the pseudonym. An account itself stays: removing it
    is an act of its own. Bytes of a file go unless another file is equal; somebody who
    uploads the same bytes in that very moment has to do it again.
    """
    return erase_for(person, author, math.inf).rows


def erase_for(person: Person, author: Author, seconds: float) -> Erased:
    """Remove as much as takes so many seconds, then the batch that was begun.

    Something goes each time; to be called until it is finished.
    """
    counts: Counter[str] = Counter()
    until, is_finished = math.inf, True
    for batch in _batches(person, author):
        counts.update(batch)
        if any(batch.values()):  # looking for the rows does not count
            until = min(until, time.monotonic() + seconds)
            if time.monotonic() >= until:
                is_finished = False
                break
    rows = {name: count for name, count in counts.items() if count}
    what = {"person": person.pseudonym, "rows": rows, "finished": is_finished}
    signed = Author(words_of(person).in_text(author), author.source)
    record_host_act(signed, "person erased", what, person.workspace)
    return Erased(rows, is_finished)


def _batches(person: Person, author: Author) -> Iterator[Batch]:
    """Remove everything, yielding after each batch what went with it."""
    traces, own = words_of(person), frozenset[int]()
    for _round in range(_ROUNDS):
        found = find_holdings(person, own)
        if _end_all(found):  # their ends were written down, too
            found = find_holdings(person, own)
        own |= found.keys["conversations"]
        traces = traces_of(found).with_objects(traces.objects)
        for count in erase_from_audit(traces, author, audited_in(person)):
            yield {"audit entries rewritten": count}
        gone = 0
        for batch in _remove(found, traces):
            gone += sum(batch.values())
            yield batch
        if not gone:
            break
    yield {"names replaced": _sign_over(person)}


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
            written = end_and_wake(run, ending, keeps_words=False)
            ended += written is not None
    return ended


def _remove(found: Holdings, traces: Traces) -> Iterator[Batch]:
    """Remove rows before those that they refer to; one transaction each."""
    # Rows of no workspace are told by ids alone where the others' are not to be read.
    told = traces.without_words() if found.person.within else traces
    yield {"values of runners": delete_batches(states_of(found))}
    yield {"values of plugins": delete_batches(stored_values_of(found))}
    for rows in limits_of(found.person):
        yield {"limits": rows.delete()[0]}
    for page in list(files_of(found)):
        yield {"files": remove_rows(page, 0.0)}
    for count in _unname(usage_of(found)):
        yield {"usage records without name": count}
    yield {"kept answers": _remove_told(IdempotencyKey, told, "owner", "answer")}
    yield {"notices": _remove_told(Notification, told, "key", "context")}
    yield from remove_ledger(found)


def _unname(rows: QuerySet[Any]) -> Iterator[int]:
    """Leave tokens and costs to the workspace's totals, without whose they were."""
    keys = dict(rows.exclude(person="").values_list("pk", "person"))
    for person in set(keys.values()):
        OpenModelCall.objects.filter(person=person).update(person="")
    for part in parts(set(keys)):
        # Past AppendOnlyQuerySet: what is written once is the numbers.
        QuerySet.update(UsageRecord.objects.filter(pk__in=part), person="")
        yield len(part)


def _remove_told(model: Any, traces: Traces, *columns: str) -> int:
    """Delete short-lived rows that name the person or a row of theirs."""
    rows = model._default_manager.values_list("pk", *columns).iterator(500)
    told = [pk for pk, *values in rows if traces.are_in(values)]
    return int(model._default_manager.filter(pk__in=told).delete()[0])


def _sign_over(person: Person) -> int:
    """Put the pseudonym where an account's name signs what was configured."""
    if not person.username:
        return 0
    changed = 0
    for model, column in _SIGNED:
        rows = model._base_manager.filter(**{column: person.username})
        changed += rows.update(**{column: person.pseudonym})
    return changed
