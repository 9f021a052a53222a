"""Fence, check and allocate in one statement, and the bulk insert of events.

The statement is the first that touches a run in its transaction. It moves `last_seq`
only where token and status still hold, and returns who they held for; nothing else
may be written for the rest. Nobody keeps a sequence number in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Field

from langbot.lib.cursors import execute_returning
from langbot.lib.prepared import PreparedInsert
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


def live_document(
    run_id: UUID, seq: int, kind: str, data: dict[str, Any], created_at: datetime
) -> dict[str, Any]:
    """Return an event as streams carry it (contract, SSE)."""
    return {
        "run_id": str(run_id),
        "seq": seq,
        "type": str(kind),
        "data": data,
        "created_at": created_at.isoformat(),
    }


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


_insert_events = PreparedInsert(RunEvent)

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
    extra = target or {}
    sql = _statement(len(fences), tuple(extra), len(sources))
    now = _moment(datetime.now(UTC))
    rows = [value for fence in fences for value in _row(fence)]
    values = [column_value(name, value) for name, value in extra.items()]
    given = [*rows, now, *values, *map(str, sources)]
    return dict(execute_returning(connection, sql, given))


def _set(name: str) -> str:
    """Return the assignment of a further column.

    What the host counted of model calls is kept: a runner's own word does not replace
    it.
    """
    given = "COALESCE(usage, %s)" if name == "usage" else "%s"
    return f", {name} = {given}"


def _statement(fences: int, extra: tuple[str, ...], sources: int) -> str:
    """Return the statement for so many runs that also sets the `extra` columns."""
    table = connection.ops.quote_name(AgentRun._meta.db_table)
    locked, joined = _locked_in_order(table, fences)
    return f"""
        WITH given ({", ".join(_COLUMNS)}) AS (VALUES {_values(fences)}){locked}
        UPDATE {table} SET
            last_seq = last_seq + given.events,
            inbound_cursor = COALESCE(given.cursor, inbound_cursor),
            last_runner_sequence =
                COALESCE(given.runner_sequence, last_runner_sequence),
            first_output_at = COALESCE(first_output_at, given.first_output),
            last_active_at = %s{"".join(map(_set, extra))}
        FROM given{joined}
        WHERE {table}.id = given.id
          AND (given.token IS NULL OR fencing_token = given.token)
          AND status IN ({", ".join(["%s"] * sources)})
        RETURNING {table}.id, last_seq
    """  # noqa: S608  only names of our own columns are interpolated


def _locked_in_order(table: str, count: int) -> tuple[str, str]:
    """Return a further CTE and the join with it, which lock runs in id order.

    An UPDATE locks in the order of its plan, so two of overlapping runs could wait for
    each other. The lock is the UPDATE's own, and does not hold up rows that refer to
    the run. SQLite has one writer.
    """
    if count == 1 or connection.vendor != "postgresql":
        return "", ""
    locked = f"""
        , held AS (SELECT id FROM {table} WHERE id IN (SELECT id FROM given)
                   ORDER BY id FOR NO KEY UPDATE)
    """  # noqa: S608  only the name of our own table is interpolated
    return locked, " JOIN held USING (id)"


def insert_events(rows: Sequence[tuple[int, int, int, NewEvent]]) -> None:
    """Insert events given as (run id, seq, invocation, event)."""
    _insert_events(
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


def column_value(name: str, value: Any) -> Any:
    """Return a value as the column of this name of a run takes it."""
    field = AgentRun._meta.get_field(name)
    assert isinstance(field, Field)  # noqa: S101  our own columns only
    return field.get_db_prep_save(value, connection)
