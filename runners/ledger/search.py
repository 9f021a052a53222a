"""Full-text search of one conversation, newest first (`docs/architecture.md`, Search).

SQLite has an FTS5 table over the column `words`, filled by triggers, and reads it from
its end. PostgreSQL has an index of the column's `tsvector`, which knows no order: what
nearly every message has is found among the newest without it, the rest through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from langbot.lib.prepared import PreparedLookup, execute_anew
from runners.choices import NOT_FOR_MODELS
from runners.ledger.context import context_span
from runners.ledger.conversations import TranscriptItem
from runners.ledger.history import with_origin
from runners.ledger.words import Term, joined, place_word, terms_of

FTS_TABLE = "langbot_runners_transcript_words"
_NEWEST = 400  # messages that PostgreSQL looks through before it asks its index

_FTS5 = f"""
    SELECT item.id FROM {FTS_TABLE}
    JOIN {{items}} AS item ON item.id = {FTS_TABLE}.rowid
    WHERE {FTS_TABLE} MATCH %s AND {{filters}}
    ORDER BY {FTS_TABLE}.rowid DESC LIMIT %s
"""  # noqa: S608  names of our own tables
_PLAIN = """
    SELECT item.id FROM {items} AS item WHERE {filters}
    ORDER BY item.seq DESC LIMIT %s
"""
_FOR_MODELS = f"item.item_type NOT IN ({', '.join(['%s'] * len(NOT_FOR_MODELS))})"
_TSVECTOR = """
    array_to_tsvector(string_to_array(btrim(item.words), ' ')) @@ CAST(%s AS tsquery)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest items that match, and whether there are older ones."""

    items: list[TranscriptItem]
    has_more: bool


@dataclass(slots=True)
class _Filters:
    """Conditions of a WHERE and their values."""

    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, condition: str, *values: Any) -> "_Filters":
        self.conditions.append(condition)
        self.values += values
        return self

    def one_of(self, column: str, wanted: Sequence[str]) -> "_Filters":
        if wanted:
            self.add(f"{column} IN ({', '.join(['%s'] * len(wanted))})", *wanted)
        return self

    def copy(self) -> "_Filters":
        return _Filters([*self.conditions], [*self.values])


def search_transcript(
    conversation_id: int,
    question: str,
    *,
    limit: int,
    roles: Sequence[str] = (),
    item_types: Sequence[str] = (),
) -> Found:
    """Return items that have every word of the question, whatever their order.

    A run of Chinese, Japanese or Korean characters is found as it stands, anywhere.
    Where nothing has the words, longer words that begin like them are as good. What
    was said before the last reset is not found.
    """
    terms = terms_of(question)
    if not terms:
        return Found([], has_more=False)
    start, end = context_span(conversation_id)
    filters = _Filters().add("item.conversation_id = %s", conversation_id)
    filters.add("item.seq > %s", start)
    filters.add(_FOR_MODELS, *NOT_FOR_MODELS)
    filters.add("item.superseded_at IS NULL")
    filters.one_of("item.role", roles).one_of("item.item_type", item_types)
    look = _look_fts5 if connection.vendor == "sqlite" else _look_tsvector
    place = Term((place_word(conversation_id),))
    keys = look(filters, place, terms, limit + 1, end, may_go_on=False)
    if not keys and any(term.may_go_on for term in terms):
        keys = look(filters, place, terms, limit + 1, end, may_go_on=True)
    rows = sorted(_items(keys[:limit]), key=lambda item: -item.seq)
    return Found(rows, has_more=len(keys) > limit)


_items = PreparedLookup(
    lambda keys: with_origin(TranscriptItem.objects.filter(pk__in=keys)).order_by(),
    planned_anew=True,
)


def _look_fts5(
    filters: _Filters,
    place: Term,
    terms: Sequence[Term],
    limit: int,
    _end: int,
    *,
    may_go_on: bool,
) -> list[int]:
    # Words are letters and digits only, so nothing needs escaping within quotes.
    match = " AND ".join(
        f'"{" ".join(term.words)}"{" *" if may_go_on and term.may_go_on else ""}'
        for term in [place, *terms]
    )
    return _keys(_FTS5, filters, [match], limit)


def _look_tsvector(
    filters: _Filters,
    place: Term,
    terms: Sequence[Term],
    limit: int,
    end: int,
    *,
    may_go_on: bool,
) -> list[int]:
    exact = filters.copy()
    for term in terms:
        goes_on = may_go_on and term.may_go_on
        written = joined(term.words)
        exact.add("item.words LIKE %s", f"%{written.rstrip() if goes_on else written}%")
    newest = exact.copy().add("item.seq > %s", end - _NEWEST)
    keys = _keys(_PLAIN, newest, [], limit)
    if len(keys) == limit:
        return keys
    # The index says who has the words, the pattern that they follow each other.
    query = " & ".join(
        f"'{word}'{':*' if may_go_on and term.may_go_on else ''}"
        for term in [place, *terms]
        for word in term.words
    )
    return _keys(_PLAIN, exact.add(_TSVECTOR, query), [], limit)


def _keys(sql: str, filters: _Filters, before: Sequence[Any], limit: int) -> list[int]:
    items = connection.ops.quote_name(TranscriptItem._meta.db_table)
    statement = sql.format(items=items, filters=" AND ".join(filters.conditions))
    with connection.cursor() as cursor:
        execute_anew(cursor, statement, [*before, *filters.values, limit])
        return [key for (key,) in cursor.fetchall()]
