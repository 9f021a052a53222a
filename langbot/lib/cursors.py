"""Writes that a session executes many times a second."""

from collections.abc import Callable, Sequence
from operator import attrgetter, methodcaller
from typing import Any

_KEPT = "_langbot_cursors"
_MOST = 100  # of one session, as many as psycopg prepares
_rows = methodcaller("fetchall")
_count = attrgetter("rowcount")


def execute_write(connection: Any, sql: str, values: Sequence[Any]) -> int:
    """Execute a write without RETURNING; returns how many rows it wrote.

    A session of PostgreSQL keeps a cursor for each write: a new one looks types up
    anew, which takes a quarter of what the client does for a statement (40 of 145 us,
    where statements take turns). Not for what reads: a cursor keeps its result. For
    the thread that has the connection.
    """
    return int(_execute(connection, sql, values, _count))


def execute_returning(
    connection: Any, sql: str, values: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """Like `execute_write`; returns the few rows that the statement returns."""
    return list(_execute(connection, sql, values, _rows))


def _execute(
    connection: Any, sql: str, values: Sequence[Any], read: Callable[[Any], Any]
) -> Any:
    cursor = connection.cursor()
    if connection.vendor == "postgresql":
        sql, cursor.cursor = _keep(connection.connection, sql, cursor.cursor)
        cursor.execute(sql, values)
        return read(cursor)
    # Closed whatever happens: one left to the traceback of a refused insert kept other
    # threads waiting for their whole 20 s (twenty copies of an event, 1 round of 10).
    with cursor:
        cursor.execute(sql, values)
        return read(cursor)


def _keep(session: Any, sql: str, cursor: Any) -> tuple[str, Any]:
    """Return the session's cursor of a statement, this one if it has none.

    The text comes with it: psycopg knows a statement again by its very object.
    """
    kept = session.__dict__.setdefault(_KEPT, {})
    if len(kept) >= _MOST and sql not in kept:
        kept.clear()
    found: tuple[str, Any] = kept.setdefault(sql, (sql, cursor))
    return found
