"""Fence, check and allocate in one statement, and the bulk insert of events.

The statement is the first that touches a run in its transaction. It moves `last_seq`
only where token and status still hold, and returns who they held for; nothing else
may be written for the rest. Nobody keeps a sequence number in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import Field

from runners.choices import RunStatus
from runners.ledger.runs import AgentRun, RunEvent


@dataclass(slots=True)
class NewEvent:
    """A ledger event that has no sequence number yet."""

    type: str
    data: dict[str, Any]
    runner_sequence: int | None = None
    usage: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Fence:
    """What one writer wants to add to one run, and under which claim.

    `token` None means: whoever owns it (cancel, sweeps); status alone decides.
    """

    run_id: int
    token: int | None
    events: int
    cursor: str | None = None
    runner_sequence: int | None = None
    first_output_at: datetime | None = None


_COLUMNS = {
    "id": "bigint",
    "token": "bigint",
    "events": "integer",
    "cursor": "varchar(40)",
    "runner_sequence": "integer",
    "first_output": "timestamp with time zone",
}


def pass_fence(
    fences: Sequence[Fence],
    *,
    sources: Sequence[str] = (RunStatus.RUNNING,),
    target: dict[str, Any] | None = None,
) -> dict[int, int]:
    """Return the new `last_seq` of each run whose token and status still hold.

    `target` are further column values to set, the new status among them. Call inside
    a transaction.
    """
    if not fences:
        return {}
    table = connection.ops.quote_name(AgentRun._meta.db_table)
    extra = target or {}
    sql = f"""
        WITH given ({", ".join(_COLUMNS)}) AS (VALUES {_values(len(fences))})
        UPDATE {table} SET
            last_seq = last_seq + given.events,
            inbound_cursor = COALESCE(given.cursor, inbound_cursor),
            last_runner_sequence =
                COALESCE(given.runner_sequence, last_runner_sequence),
            first_output_at = COALESCE(first_output_at, given.first_output),
            last_active_at = %s{"".join(f", {name} = %s" for name in extra)}
        FROM given
        WHERE {table}.id = given.id
          AND (given.token IS NULL OR fencing_token = given.token)
          AND status IN ({", ".join(["%s"] * len(sources))})
        RETURNING {table}.id, last_seq
    """  # noqa: S608  only names of our own columns are interpolated
    now = _moment(datetime.now(UTC))
    rows = [value for fence in fences for value in _row(fence)]
    with connection.cursor() as cursor:
        cursor.execute(
            sql, [*rows, now, *map(_column_value, extra.items()), *map(str, sources)]
        )
        return dict(cursor.fetchall())


def insert_events(rows: Sequence[tuple[int, int, int, NewEvent]]) -> None:
    """Insert events given as (run id, seq, invocation, event)."""
    RunEvent.objects.bulk_create(
        [
            RunEvent(
                run_id=run_id,
                seq=seq,
                type=event.type,
                data=event.data,
                invocation=invocation,
                runner_sequence=event.runner_sequence,
                usage=event.usage,
                created_at=event.created_at,
            )
            for run_id, seq, invocation, event in rows
        ]
    )


def _values(count: int) -> str:
    first = ", ".join(f"CAST(%s AS {kind})" for kind in _types())
    others = ", ".join(["%s"] * len(_COLUMNS))
    return ", ".join([f"({first})", *[f"({others})"] * (count - 1)])


def _types() -> list[str]:
    if connection.vendor == "postgresql":
        return list(_COLUMNS.values())
    # SQLite would read a timestamp type as numeric and cut the text to its year.
    return ["text" if "time" in kind else kind for kind in _COLUMNS.values()]


def _row(fence: Fence) -> tuple[Any, ...]:
    return (
        fence.run_id,
        fence.token,
        fence.events,
        fence.cursor,
        fence.runner_sequence,
        _moment(fence.first_output_at),
    )


def _moment(value: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


def _column_value(item: tuple[str, Any]) -> Any:
    name, value = item
    field = AgentRun._meta.get_field(name)
    assert isinstance(field, Field)  # noqa: S101  our own columns only
    return field.get_db_prep_save(value, connection)
