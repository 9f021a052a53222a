"""Where a conversation's present context begins: runners read nothing before it."""

from typing import Any

from django.db.models import BigIntegerField, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from langbot.lib.prepared import PreparedQuery
from runners.ledger.conversations import Conversation, TranscriptItem

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
