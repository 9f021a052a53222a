"""How many rows a table has, without reading them."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, connections
from django.db.models import QuerySet

EXACT_ROWS = 10_000  # counted up to here; beyond it people need no exact number


def roughly(rows: QuerySet[Any]) -> int:
    """Return a count that costs at most `EXACT_ROWS` index entries.

    A narrowed query is counted that far. A whole table is estimated: by PostgreSQL's
    statistics, else by its span of keys, since logs lose rows only at the old end.
    """
    if rows.query.where or rows.query.distinct:
        return rows.order_by().values("pk")[:EXACT_ROWS].count()
    return _from_statistics(rows) or _span(rows)


def counts_of(rows: Mapping[str, QuerySet[Any]]) -> dict[str, int]:
    """Return how many rows each queryset has, all in one statement.

    Slice the querysets: each is counted as far as it goes.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    for queryset in rows.values():
        try:
            sql, given = queryset.values("pk").query.sql_with_params()
        except EmptyResultSet:
            sql, given = "SELECT 1 WHERE 1 = 0", ()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) counted)")  # noqa: S608  Django's own SQL
        parameters += given
    if not parts:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", parameters)
        return dict(zip(rows, cursor.fetchone(), strict=True))


def capped(number: int, most: int) -> str:
    """Return a number as people read it that was counted up to one more than `most`."""
    return str(number) if number <= most else f"{most}+"


def _from_statistics(rows: QuerySet[Any]) -> int:
    """Return PostgreSQL's estimate; 0 where there is none or the table is small."""
    connection = connections[rows.db]
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [connection.ops.quote_name(rows.model._meta.db_table)],
        )
        estimate = int(cursor.fetchone()[0])
    return estimate if estimate > EXACT_ROWS else 0


def _span(rows: QuerySet[Any]) -> int:
    newest = rows.order_by("-pk").values_list("pk", flat=True).first()
    oldest = rows.order_by("pk").values_list("pk", flat=True).first()
    return 0 if newest is None or oldest is None else int(newest) - int(oldest) + 1


__all__ = ["EXACT_ROWS", "capped", "counts_of", "roughly"]
