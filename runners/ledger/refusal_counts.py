"""Adds counted refusals to their rows: one statement for many of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from runners.models import AgentRun, HostCallRefusal

_TOGETHER = 500  # rows of one statement

Key = tuple[UUID, str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often calls of one action for one run were refused with one code.

    `plugin` made the last of them; `workspace_id` is its token's, None for all.
    """

    run_id: UUID
    action: str
    code: str
    count: int
    first_at: datetime
    last_at: datetime
    plugin: str = ""
    workspace_id: int | None = None

    @property
    def key(self) -> Key:
        """What there is one row of."""
        return self.run_id, self.action, self.code

    def plus(self, other: "Refusal") -> "Refusal":
        """Return both as one; the caller is the later one's."""
        late = max(self, other, key=lambda one: one.last_at)
        first_at = min(self.first_at, other.first_at)
        return replace(late, count=self.count + other.count, first_at=first_at)


_COLUMNS = {
    "public_id": "uuid",
    "action": "varchar(50)",
    "code": "varchar(50)",
    "count": "bigint",
    "first_at": "timestamp with time zone",
    "last_at": "timestamp with time zone",
    "plugin": "varchar(200)",
    "workspace": "bigint",
}


def merged(refusals: Iterable[Refusal]) -> list[Refusal]:
    """Return one refusal for each key."""
    found: dict[Key, Refusal] = {}
    for one in refusals:
        earlier = found.get(one.key)
        found[one.key] = one if earlier is None else earlier.plus(one)
    return list(found.values())


def add_refusals(refusals: Iterable[Refusal]) -> None:
    """Add to the rows of runs that exist; the others are forgotten.

    A caller of another workspace is not named to the run's. Any number of processes
    may at once.
    """
    rows = merged(refusals)
    for start in range(0, len(rows), _TOGETHER):
        _add(rows[start : start + _TOGETHER])


def _add(rows: Sequence[Refusal]) -> None:
    quote = connection.ops.quote_name
    table, runs = (quote(model._meta.db_table) for model in (HostCallRefusal, AgentRun))
    # Ordered, so that two processes lock the same rows in the same order; `WHERE true`
    # tells SQLite that ON CONFLICT does not belong to the join.
    sql = f"""
        WITH given ({", ".join(_COLUMNS)}) AS (VALUES {_values(len(rows))})
        INSERT INTO {table} (run_id, action, code, count, first_at, last_at, plugin)
        SELECT runs.id, given.action, given.code, given.count,
               given.first_at, given.last_at,
               CASE WHEN given.workspace IS NULL
                         OR given.workspace = runs.workspace_id
                    THEN given.plugin ELSE '' END
        FROM given JOIN {runs} AS runs ON runs.public_id = given.public_id
        WHERE true ORDER BY runs.id, given.action, given.code
        ON CONFLICT (run_id, action, code) DO UPDATE SET
            count = {table}.count + excluded.count,
            plugin = excluded.plugin,
            first_at = CASE WHEN excluded.first_at < {table}.first_at
                            THEN excluded.first_at ELSE {table}.first_at END,
            last_at = CASE WHEN excluded.last_at > {table}.last_at
                           THEN excluded.last_at ELSE {table}.last_at END
    """  # noqa: S608  only names of our own are interpolated
    with connection.cursor() as cursor:
        cursor.execute(sql, [value for row in rows for value in _row(row)])


def _values(count: int) -> str:
    types = list(_COLUMNS.values())
    if connection.vendor != "postgresql":
        # SQLite would read these types as numeric.
        types = ["text" if "time" in one or one == "uuid" else one for one in types]
    first = ", ".join(f"CAST(%s AS {one})" for one in types)
    others = ", ".join(["%s"] * len(_COLUMNS))
    return ", ".join([f"({first})", *[f"({others})"] * (count - 1)])


def _row(refusal: Refusal) -> tuple[Any, ...]:
    moment = connection.ops.adapt_datetimefield_value
    field: Any = AgentRun._meta.get_field("public_id")
    return (
        field.get_db_prep_value(refusal.run_id, connection),
        refusal.action,
        refusal.code,
        refusal.count,
        moment(refusal.first_at),
        moment(refusal.last_at),
        refusal.plugin,
        refusal.workspace_id,
    )
