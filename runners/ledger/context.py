"""What of a conversation runners read: nothing before its last reset, nothing replaced.

An event or a run is replaced with what was said of it: by another reply, by other words
after an earlier message, or by a rollback. People find it in the ledger.
"""

from typing import Any

from django.db.models import (
    BigIntegerField,
    CharField,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Concat, Replace

from langbot.lib.prepared import PreparedQuery
from runners.choices import EventType, Role
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.lineage import SOURCE
from runners.ledger.runs import AgentRun

_spans = PreparedQuery(
    lambda key: Conversation.objects.filter(pk=key).values_list(
        "context_seq", "transcript_seq"
    ),
    BigIntegerField(),
)


def context_span(conversation_id: int) -> tuple[int, int]:
    """Return the transcript's numbers of the last reset (0 without) and its end."""
    row = _spans.first(conversation_id)
    return (row[0], row[1]) if row is not None else (0, 0)


def first_event(conversation: Any) -> Coalesce:
    """Return an expression: events and their runs after this key are the context's."""
    since = Conversation.objects.filter(pk=conversation).values("context_seq")
    before: QuerySet[TranscriptItem, Any] = (
        TranscriptItem.objects.filter(
            conversation=conversation, seq__lte=Subquery(since), event__isnull=False
        )
        .order_by("-seq")
        .values("event_id")[:1]
    )
    return Coalesce(Subquery(before), Value(0), output_field=BigIntegerField())


def visible_events(conversation: Any) -> QuerySet[EventLog]:
    """Return the events of a conversation's context.

    One that is answered anew is there again, whatever became of its earlier answers.
    Files go with the run that made them.
    """
    said, answers = (_replaced(conversation, name) for name in ("event", "run__event"))
    made = Q(type=EventType.ARTIFACT_CREATED, maker__in=_replaced_makers(conversation))
    events = EventLog.objects.alias(maker=_dashless("source"))
    return events.filter(
        conversation=conversation, pk__gt=first_event(conversation)
    ).exclude(Q(pk__in=said) | Q(pk__in=answers) | made)


def visible_runs(conversation: Any) -> QuerySet[AgentRun]:
    """Return the runs of a conversation's context."""
    replaced = _replaced_runs(conversation).values("run")
    return AgentRun.objects.filter(
        conversation=conversation, event__gt=first_event(conversation)
    ).exclude(pk__in=replaced)


def _replaced_runs(conversation: Any) -> QuerySet[TranscriptItem]:
    """Return rows of the runs of which nothing is left but their message."""
    current = TranscriptItem.objects.current().filter(run=OuterRef("run"))
    # The message itself stays where only its answer was replaced.
    answers = Exists(current.exclude(role=Role.USER))
    return TranscriptItem.objects.replaced().filter(
        ~answers, conversation=conversation, run__isnull=False
    )


def _replaced_makers(conversation: Any) -> QuerySet[TranscriptItem, Any]:
    """Return the replaced runs as the sources of their events name them, dashless.

    SQLite keeps ids without dashes, PostgreSQL writes them with.
    """
    run = Cast("run__public_id", CharField())
    source = Concat(Value(SOURCE), _dashless(run), output_field=CharField())
    return _replaced_runs(conversation).values_list(source, flat=True)


def _dashless(text: Any) -> Replace:
    return Replace(text, Value("-"), Value(""))


def _replaced(conversation: Any, name: str) -> QuerySet[TranscriptItem, Any]:
    """Return events of which only replaced rows tell; `name` leads to them.

    The few replaced rows are asked first, and of them whether anything else tells.
    """
    event = OuterRef(name)
    current = TranscriptItem.objects.current()
    live = AgentRun.objects.live().filter(event=event)
    replaced = TranscriptItem.objects.replaced().filter(conversation=conversation)
    gone: QuerySet[TranscriptItem, Any] = (
        replaced.filter(**{f"{name}__isnull": False})
        .exclude(
            Exists(current.filter(event=event))
            | Exists(current.filter(run__event=event))
            | Exists(live)
        )
        .values(name)
    )
    return gone
