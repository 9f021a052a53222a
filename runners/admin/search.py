"""Finding records by whatever id a person has in hand.

Each way from an id to a record is a query of its own, along indexes, and all of them
go to the database as one UNION: joined by OR they would read a million rows.
"""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from langbot.core.models import Workspace
from langbot.lib.admin import as_uuid
from runners.labels import has_problem
from runners.models import (
    AgentRun,
    Conversation,
    Delivery,
    EventLog,
    PendingAction,
    QueuedMessage,
)

MOST = 1000  # records that one id leads to


class IdSearch:
    """An admin list that is searched by ids."""

    def matches(self, text: str) -> Q:
        """Return the condition on the list's own rows."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        return (queryset.filter(self.matches(text)) if text else queryset), False


def runs_named(text: str) -> Q:
    """Runs by their id, event, conversation or delivery; else by their error code."""
    ways = [
        *_ids(text, "public_id", "event__public_id", "conversation__public_id"),
        *_ids(text, "deliveries__public_id", "deliveries__idempotency_key"),
        Q(event__event_id=text),
        Q(deliveries__platform_message_id=text),
        *_places(text, "conversation__"),
    ]
    failed = _in_any_workspace(error_code=text) & has_problem()
    return _found(AgentRun, ways) or failed


def events_named(text: str) -> Q:
    """Events by their id here or at the source, or of a run; else by their type."""
    ways = [*_ids(text, "public_id", "runs__public_id"), Q(event_id=text)]
    return _found(EventLog, ways) or _in_any_workspace(type=text)


def conversations_named(text: str) -> Q:
    """Conversations by their id here, their id at the platform, or their key."""
    ways = [*_ids(text, "public_id", "runs__public_id"), *_places(text)]
    return _found(Conversation, ways) or _nothing()


def deliveries_named(text: str) -> Q:
    """Deliveries by their ids, or those of their run and conversation."""
    ways = [
        *_ids(text, "public_id", "idempotency_key", "run__public_id"),
        *_ids(text, "conversation__public_id"),
        Q(platform_message_id=text),
        *_places(text, "conversation__"),
    ]
    return _found(Delivery, ways) or _nothing()


def actions_named(text: str) -> Q:
    """What waits for a person by its id, run or conversation; else by its tool."""
    ways = [
        *_ids(text, "public_id", "run__public_id", "conversation__public_id"),
        *_places(text, "conversation__"),
    ]
    return _found(PendingAction, ways) or Q(tool_name=text)


def queued_named(text: str) -> Q:
    """Queued messages by their ids, or those of their event and conversation."""
    ways = [
        *_ids(text, "public_id", "event__public_id", "conversation__public_id"),
        Q(event__event_id=text),
        *_places(text, "conversation__"),
    ]
    return _found(QueuedMessage, ways) or _nothing()


def calls_named(text: str) -> Q:
    """Host calls by the id of their run."""
    uuid = as_uuid(text)
    return _nothing() if uuid is None else Q(run__public_id=uuid)


def _ids(text: str, *columns: str) -> list[Q]:
    uuid = as_uuid(text)
    return [] if uuid is None else [Q(**{column: uuid}) for column in columns]


def _places(text: str, path: str = "") -> list[Q]:
    """Return the ways through what a platform calls a conversation."""
    by_key = _in_any_workspace(path, key=text)
    return [Q(**{f"{path}external_id": text}), by_key]


def _in_any_workspace(path: str = "", **value: str) -> Q:
    """Return a condition on a column whose index begins with the workspace."""
    every = {f"{path}workspace__in": Workspace.objects.values("pk")}
    return Q(**every, **{f"{path}{name}": text for name, text in value.items()})


def _found(model: type[Model], ways: Iterable[Q]) -> Q | None:
    """Return the condition on what any of the ways finds; None when that is nothing."""
    rows = model._default_manager.order_by().values_list("pk", flat=True)
    first, *others = (rows.filter(way) for way in ways)
    keys = list(first.union(*others, all=True)[:MOST])
    return Q(pk__in=keys) if keys else None


def _nothing() -> Q:
    return Q(pk__in=[])


__all__ = [
    "IdSearch",
    "actions_named",
    "calls_named",
    "conversations_named",
    "deliveries_named",
    "events_named",
    "queued_named",
    "runs_named",
]
