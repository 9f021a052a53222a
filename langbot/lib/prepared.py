"""Querysets that are compiled once and executed many times.

Building and compiling the SQL of a wide queryset costs about ten times what its
execution does (1.2 ms against 0.1 ms for a run), at every call. Here the ORM stays the
one place that knows columns and converters, and is asked for them once a process.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, reduce
from operator import or_
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models.expressions import Value
from django.db.models.query import (
    ModelIterable,
    ValuesListIterable,
    get_related_populators,
)
from django.db.transaction import TransactionManagementError

from langbot.lib.cursors import execute_returning, execute_write

Row = TypeVar("Row")


class Given(Value):
    """A placeholder for the value of this number, which its field converts."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]


class Literal(Value):
    """A word of ours that stands in the statement itself.

    A database proves that a partial index has a row from what it plans with. SQLite
    does not see parameters of a list then, PostgreSQL none in a generic plan.
    """

    def __init__(self, word: str) -> None:
        super().__init__(str(word))

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if not self.value.isidentifier():
            message = f"not a word: {self.value}"
            raise ValueError(message)
        return f"'{self.value}'", []


def is_word(field: str, words: Iterable[str]) -> models.Q:
    """Select rows whose field is one of our words, as their partial indexes need it.

    One term for each: SQLite proves nothing from a list.
    """
    terms = (models.Q(**{field: Literal(word)}) for word in sorted(words))
    return reduce(or_, terms, models.Q())


def execute_kept(cursor: Any, sql: str, values: Sequence[Any]) -> None:
    """Execute a statement whose plan the database may keep."""
    cursor.execute(sql, values)


def execute_anew(cursor: Any, sql: str, values: Sequence[Any]) -> None:
    """Execute a statement that PostgreSQL plans at each call (about 0.1 ms).

    A kept plan is one for the size a table once had: made when a table is small, it
    reads all of it long after it has grown (a search took 28 ms instead of 1).
    """
    if cursor.db.vendor == "postgresql":
        cursor.cursor.execute(sql, values, prepare=False)
    else:
        cursor.execute(sql, values)


class PreparedQuery(Generic[Row]):
    """A queryset of given values; returns its model rows, or tuples of `values_list`.

    `build` gets one placeholder for each field and is called once per database, so the
    shape of the queryset must not depend on the values: a `None` matches nothing,
    since it never becomes IS NULL. It may lock rows: then a call outside a transaction
    raises TransactionManagementError. Prefetches, dicts and flat lists are refused
    with a ValueError at the first call. Thread-safe. With `planned_anew` the server
    keeps no plan of it (`execute_anew`).
    """

    def __init__(
        self,
        build: Callable[..., models.QuerySet[Any, Row]],
        *fields: "models.Field[Any, Any]",
        planned_anew: bool = False,
    ) -> None:
        self._build = build
        self._planned_anew = planned_anew
        self._given = [Given(n, output_field=field) for n, field in enumerate(fields)]
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, *values: Any, using: str = "default") -> list[Row]:
        """Execute the query and return its rows."""
        compiled = self._compiled.get(using)
        if compiled is None:
            queryset = self._build(*self._given).using(using)
            compiled = _Compiled(queryset, planned_anew=self._planned_anew)
            self._compiled[using] = compiled
        return compiled.execute(values)

    def first(self, *values: Any, using: str = "default") -> Row | None:
        """Execute the query and return its first row, or None; LIMIT is its own."""
        rows = self(*values, using=using)
        return rows[0] if rows else None


class _Compiled:
    """The SQL of a queryset on one database, and what makes objects of its rows."""

    def __init__(self, queryset: Any, *, planned_anew: bool) -> None:
        self._db = queryset.db
        self._execute = execute_anew if planned_anew else execute_kept
        iterable = queryset._iterable_class
        is_model = issubclass(iterable, ModelIterable)
        is_tuples = issubclass(iterable, ValuesListIterable)
        if not (is_model or is_tuples) or queryset._prefetch_related_lookups:
            message = "only model rows without prefetches, and plain values_list"
            raise ValueError(message)
        self._locks = queryset.query.select_for_update
        self._compiler = queryset.query.get_compiler(using=queryset.db)
        self._sql, self._parameters = self._compiler.as_sql()
        expressions: Any = [item[0] for item in self._compiler.select]
        self._converters = list(self._compiler.get_converters(expressions).items())
        self._make: Any = self._model_rows() if is_model else tuple

    def _model_rows(self) -> Callable[[Sequence[Any]], Any]:
        """Return what Django's own ModelIterable does with each row."""
        compiler, db = self._compiler, self._db
        info = compiler.klass_info
        start, end = info["select_fields"][0], info["select_fields"][-1] + 1
        names = [item[0].target.attname for item in compiler.select[start:end]]
        related: Any = get_related_populators  # its stub is of a later version
        populators = related(info, compiler.select, db)
        annotations = compiler.annotation_col_map or {}

        def make(row: Sequence[Any]) -> Any:
            made = info["model"].from_db(db, names, row[start:end])
            for populator in populators:
                populator.populate(row, made)
            for name, place in annotations.items():
                setattr(made, name, row[place])
            return made

        return make

    def execute(self, values: Sequence[Any]) -> list[Any]:
        connection: Any = connections[self._db]
        if self._locks and connection.get_autocommit():
            # Django asks this only where it compiles; without one nothing is locked.
            message = "select_for_update cannot be used outside of a transaction."
            raise TransactionManagementError(message)
        with connection.cursor() as cursor:
            self._execute(cursor, self._sql, self._given(values, connection))
            rows = cursor.fetchall()
        return [self._make(self._converted(row, connection)) for row in rows]

    def _given(self, values: Sequence[Any], connection: Any) -> tuple[Any, ...]:
        return tuple(
            one.output_field.get_db_prep_value(values[one.value], connection)
            if isinstance(one, Given)
            else one
            for one in self._parameters
        )

    def _converted(self, row: Sequence[Any], connection: Any) -> list[Any]:
        converted = list(row)
        for place, (converters, expression) in self._converters:
            for converter in converters:
                converted[place] = converter(converted[place], expression, connection)
        return converted


class PreparedInsert:
    """Inserts rows of one model; the key of each is set. Thread-safe.

    Like `bulk_create`, it sends no signals and refuses nothing that `save` would.
    Values are no expressions; a key that a row has already is not used. With
    `unless_conflict`, rows that a unique constraint refuses keep no key.
    """

    _TOGETHER = 50  # rows of one statement

    def __init__(
        self, model: type[models.Model], *, unless_conflict: bool = False
    ) -> None:
        self._model = model
        self._suffix = " ON CONFLICT DO NOTHING" if unless_conflict else ""
        # Of several rows nobody could tell whose key did not come back.
        self._together = 1 if unless_conflict else self._TOGETHER
        self._statements: dict[int, str] = {}

    @cached_property
    def _fields(self) -> list["models.Field[Any, Any]"]:
        return [
            field
            for field in self._model._meta.local_concrete_fields
            if not isinstance(field, models.AutoField)
        ]

    def __call__(self, rows: Sequence[models.Model], *, using: str = "default") -> None:
        """Insert the rows, in order."""
        for start in range(0, len(rows), self._together):
            self._insert(rows[start : start + self._together], connections[using])

    def _insert(self, rows: Sequence[models.Model], connection: Any) -> None:
        values = [
            field.get_db_prep_save(field.pre_save(row, add=True), connection)
            for row in rows
            for field in self._fields
        ]
        statement = self._statement(len(rows), connection)
        keys = execute_returning(connection, statement, values)
        for row, (key,) in zip(rows, keys, strict=not self._suffix):
            row.pk = key
            row._state.adding, row._state.db = False, connection.alias

    def _statement(self, count: int, connection: Any) -> str:
        if count not in self._statements:
            quote = connection.ops.quote_name
            columns = ", ".join(quote(field.column) for field in self._fields)
            one = f"({', '.join(['%s'] * len(self._fields))})"
            self._statements[count] = (
                f"INSERT INTO {quote(self._model._meta.db_table)} ({columns})"  # noqa: S608  names of our own columns
                f" VALUES {', '.join([one] * count)}{self._suffix}"
                f" RETURNING {quote(self._model._meta.pk.column)}"
            )
        return self._statements[count]


class PreparedUpdate:
    """Sets some columns of one row of a model by its key. Thread-safe.

    Times that `save` would set by itself are columns like others.
    """

    def __init__(self, model: type[models.Model], *names: str) -> None:
        self._model, self._names = model, names

    @cached_property
    def _fields(self) -> list["models.Field[Any, Any]"]:
        return [self._model._meta.get_field(name) for name in self._names]  # type: ignore[misc]  # columns only

    def __call__(self, key: Any, *values: Any, using: str = "default") -> int:
        """Set the columns to the values; returns how many rows there were."""
        connection: Any = connections[using]
        prepared = [
            field.get_db_prep_save(value, connection)
            for field, value in zip(self._fields, values, strict=True)
        ]
        statement = self._statement(connection)
        return execute_write(connection, statement, [*prepared, key])

    def _statement(self, connection: Any) -> str:
        quote = connection.ops.quote_name
        settings = ", ".join(f"{quote(field.column)} = %s" for field in self._fields)
        table, key = self._model._meta.db_table, self._model._meta.pk.column
        return f"UPDATE {quote(table)} SET {settings} WHERE {quote(key)} = %s"  # noqa: S608  names of our own columns


class PreparedLookup(Generic[Row]):
    """A queryset of rows by any of many keys; compiled once for 1, 2, 4, 8 … keys."""

    def __init__(
        self,
        build: Callable[[Sequence[Any]], models.QuerySet[Any, Row]],
        *,
        planned_anew: bool = False,
    ) -> None:
        self._build = build
        self._planned_anew = planned_anew
        self._sizes: dict[int, PreparedQuery[Row]] = {}

    def __call__(self, keys: Sequence[int]) -> list[Row]:
        """Return the rows of these keys; a key may be repeated."""
        if not keys:
            return []
        size = 1 << (len(keys) - 1).bit_length()
        query = self._sizes.get(size)
        if query is None:
            fields = [models.BigIntegerField() for _ in range(size)]
            query = PreparedQuery(
                lambda *given: self._build(given),
                *fields,
                planned_anew=self._planned_anew,
            )
            self._sizes[size] = query
        return query(*keys, *[keys[-1]] * (size - len(keys)))
