"""A person, and everything that the ledger has of them.

A person is an actor of one bot, of the API of one workspace, or somebody with an
account here, who speaks as `user:<key>` wherever they do. Two bots never share people:
who says that an id of one platform is that of another?
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils.crypto import salted_hmac

from langbot.core.models import Workspace
from runners.choices import PASSING, Role
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


@dataclass(frozen=True, slots=True)
class Person:
    """Who it is; `bot_id` and `workspace` bound where, `username` names an account.

    `within` is for who may act in that workspace only: what others have there is all
    that is read and changed. Words of an id may mean somebody else elsewhere.
    """

    actor_id: str
    workspace: Workspace | None = None
    bot_id: UUID | None = None
    username: str = ""
    within: bool = False

    @property
    def pseudonym(self) -> str:
        """Return the same name each time, from which nobody learns who it was."""
        place = f"{self.workspace.pk if self.workspace else ''}:{self.bot_id or ''}"
        digest = salted_hmac("langbot.person", f"{place}:{self.actor_id}").hexdigest()
        return f"erased-{digest[:12]}"

    def here(self) -> Q:
        """Return the condition that rows of the person's places meet."""
        if self.username:
            return Q()
        place = Q(bot_id=self.bot_id)
        return place & Q(workspace=self.workspace) if self.workspace else place


MODELS: dict[str, type[Model]] = {
    "events": EventLog,
    "messages": TranscriptItem,
    "runs": AgentRun,
    "queued_messages": QueuedMessage,
    "deliveries": Delivery,
    "decisions": PendingAction,
    "conversations": Conversation,
}


@dataclass(slots=True)
class Holdings:
    """What the ledger has, as keys by the names of `MODELS`.

    `conversations` are those in which nobody else spoke; in the `shared` ones only
    what the person said counts, and what was answered to it.
    """

    person: Person
    keys: dict[str, set[int]] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)

    def pages(self, name: str) -> Iterator[QuerySet[Any]]:
        """Yield the rows of a name, some hundred at once."""
        for part in parts(self.keys[name]):
            yield MODELS[name]._default_manager.filter(pk__in=part).order_by("pk")

    def values(self, name: str, column: str) -> list[Any]:
        """Return a column of all rows of a name."""
        pages = (page.values_list(column, flat=True) for page in self.pages(name))
        return [value for page in pages for value in page]


def find_holdings(person: Person, known: frozenset[int] = frozenset()) -> Holdings:
    """Look for everything; reads each table of the person's places once.

    `known` are conversations that were found before, where nothing may tell any more.
    """
    said = _keys(EventLog.objects.filter(_spoken_by(person)))
    touched = _touched(person) | pick(Conversation, "pk", set(known))
    own = touched - _with_others(person, touched)
    found = Holdings(person, {"conversations": own}, touched - own)
    found.keys["runs"] = _runs(said, own)
    own |= _of_one_call(found)
    found.keys["events"] = said | _further_events(found)
    found.keys["messages"] = _messages(found)
    found.keys["queued_messages"] = pick(QueuedMessage, "event", found.keys["events"])
    for name, model in (("deliveries", Delivery), ("decisions", PendingAction)):
        mine = pick(model, "run", found.keys["runs"])
        found.keys[name] = mine | pick(model, "conversation", own)
    return found


def _spoken_by(person: Person) -> Q:
    speaks = Q(actor__id=person.actor_id) | Q(subject__id=person.actor_id)
    return person.here() & speaks


def _touched(person: Person) -> set[int]:
    """Return the conversations in which the person spoke, however long ago."""
    said = EventLog.objects.filter(_spoken_by(person)).values("conversation")
    items = TranscriptItem.objects.filter(actor_id=person.actor_id)
    rows = Conversation.objects.filter(person.here())
    return _keys(
        rows.filter(
            Q(actor_id=person.actor_id)
            | Q(external_id=person.actor_id)
            | Q(pk__in=said.exclude(conversation=None))
            | Q(pk__in=items.values("conversation"))
        )
    )


def _with_others(person: Person, touched: set[int]) -> set[int]:
    """Return the conversations in which somebody else said something, too."""
    shared: set[int] = set()
    for part in parts(touched):
        said = TranscriptItem.objects.filter(conversation__in=part, role=Role.USER)
        others = said.exclude(actor_id=person.actor_id).order_by()
        shared |= set(others.values_list("conversation", flat=True).distinct())
        # These have many events: none is read where the messages tell already.
        shared |= _asked_by_others(person, set(part) - shared)
    return shared


def _asked_by_others(person: Person, places: set[int]) -> set[int]:
    events = EventLog.objects.filter(conversation__in=places).order_by()
    asked = events.exclude(type="message.sent").exclude(source__startswith=SOURCE)
    actors = asked.values_list("conversation", "actor").iterator(500)
    return {place for place, one in actors if str(one.get("id")) != person.actor_id}


def _runs(said: set[int], own: set[int]) -> set[int]:
    level = pick(AgentRun, "event", said) | pick(AgentRun, "conversation", own)
    found: set[int] = set()
    while level:  # their sub-runs know what they were told
        found |= level
        level = pick(AgentRun, "parent", level) - found
    return found


def _of_one_call(found: Holdings) -> set[int]:
    """Return the conversations that were opened for the person's runs alone."""
    passing = Conversation.objects.filter(kind__in=PASSING)
    places = parts(set(found.values("runs", "conversation")))
    return {one for part in places for one in _keys(passing.filter(pk__in=part))}


def _further_events(found: Holdings) -> set[int]:
    """Return what the person's runs said and began, and all of their conversations."""
    sources = {f"{SOURCE}{one}" for one in found.values("runs", "public_id")}
    own = pick(EventLog, "conversation", found.keys["conversations"])
    return own | pick(EventLog, "source", sources) | set(found.values("runs", "event"))


def _messages(found: Holdings) -> set[int]:
    spoken = TranscriptItem.objects.filter(actor_id=found.person.actor_id)
    here = _keys(spoken.filter(role=Role.USER, conversation__in=_in_place(found)))
    own = pick(TranscriptItem, "conversation", found.keys["conversations"])
    answers = pick(TranscriptItem, "run", found.keys["runs"])
    return here | own | answers | pick(TranscriptItem, "event", found.keys["events"])


def _in_place(found: Holdings) -> QuerySet[Any]:
    return Conversation.objects.filter(found.person.here()).values("pk")


def _keys(rows: QuerySet[Any]) -> set[int]:
    return set(rows.order_by().values_list("pk", flat=True))


def pick(model: Any, column: str, values: set[Any]) -> set[int]:
    """Return the rows whose column has one of many values."""
    found: set[int] = set()
    for part in parts(values):
        found |= _keys(model._default_manager.filter(**{f"{column}__in": part}))
    return found


def parts(values: set[Any], size: int = 500) -> Iterator[list[Any]]:
    """Yield sorted values, so many at once: no database takes all of them."""
    ordered = sorted(values)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
