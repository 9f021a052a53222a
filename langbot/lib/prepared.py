"""Querysets that are compiled once and executed many times.

Building and compiling the SQL of a wide queryset costs about ten times what its
execution does (1.2 ms against 0.1 ms for a run), at every call. Here the ORM stays the
one place that knows columns and converters, and is asked for them once a process.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models.expressions import Value
from django.db.models.query import ModelIterable, ValuesListIterable
from django.db.models.sql.compiler import SQLCompiler
from django.db.transaction import TransactionManagementError

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


class PreparedQuery(Generic[Row]):
    """A queryset of given values; returns its model rows, or tuples of `values_list`.

    `build` gets one placeholder for each field and is called once per database, so the
    shape of the queryset must not depend on the values: a `None` matches nothing,
    since it never becomes IS NULL. It may lock rows: then a call outside a transaction
    raises TransactionManagementError. Prefetches, dicts and flat lists are refused
    with a ValueError at the first call. Thread-safe.
    """

    def __init__(
        self,
        build: Callable[..., models.QuerySet[Any, Row]],
        *fields: "models.Field[Any, Any]",
    ) -> None:
        self._build = build
        self._given = [Given(n, output_field=field) for n, field in enumerate(fields)]
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, *values: Any, using: str = "default") -> list[Row]:
        """Execute the query and return its rows."""
        compiled = self._compiled.get(using)
        if compiled is None:
            queryset = self._build(*self._given).using(using)
            compiled = self._compiled[using] = _Compiled(queryset)
        return list(_Execution(compiled, values))

    def first(self, *values: Any, using: str = "default") -> Row | None:
        """Execute the query and return its first row, or None; LIMIT is its own."""
        rows = self(*values, using=using)
        return rows[0] if rows else None


class _Compiled:
    """The SQL of a queryset on one database, and what makes objects of its rows."""

    def __init__(self, queryset: Any) -> None:
        self.db, self.model = queryset.db, queryset.model
        iterable = queryset._iterable_class
        self.is_model = issubclass(iterable, ModelIterable)
        is_tuples = issubclass(iterable, ValuesListIterable)
        if not (self.is_model or is_tuples) or queryset._prefetch_related_lookups:
            message = "only model rows without prefetches, and plain values_list"
            raise ValueError(message)
        self.locks = queryset.query.select_for_update
        self.compiler = queryset.query.get_compiler(using=queryset.db)
        self.sql, self._parameters = self.compiler.as_sql()
        expressions: Any = [item[0] for item in self.compiler.select]
        self.converters = self.compiler.get_converters(expressions)

    def parameters(self, values: Sequence[Any], connection: Any) -> tuple[Any, ...]:
        return tuple(
            one.output_field.get_db_prep_value(values[one.value], connection)
            if isinstance(one, Given)
            else one
            for one in self._parameters
        )


class _Execution:
    """All that Django's row iterables ask of a queryset and of its query."""

    _known_related_objects: dict[Any, Any] = {}

    def __init__(self, compiled: _Compiled, values: Sequence[Any]) -> None:
        self._compiled, self._values = compiled, values
        self.db, self.model, self.query = compiled.db, compiled.model, self

    def __iter__(self) -> Any:
        if self._compiled.is_model:
            return iter(ModelIterable(self))  # type: ignore[arg-type]
        rows: Iterable[Any] = self.get_compiler(self.db).results_iter(
            tuple_expected=True
        )
        return iter(rows)

    def get_compiler(self, using: str) -> SQLCompiler:
        """Return a compiler of this thread's connection that has its SQL already."""
        compiled = self._compiled
        compiler: Any = copy.copy(compiled.compiler)
        compiler.connection = connections[using]
        if compiled.locks and compiler.connection.get_autocommit():
            # Django asks this only where it compiles; without one nothing is locked.
            message = "select_for_update cannot be used outside of a transaction."
            raise TransactionManagementError(message)
        done = compiled.sql, compiled.parameters(self._values, compiler.connection)
        compiler.as_sql = lambda: done
        compiler.get_converters = lambda _expressions: compiled.converters
        return compiler  # type: ignore[no-any-return]


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
        with connection.cursor() as cursor:
            cursor.execute(self._statement(len(rows), connection), values)
            keys = cursor.fetchall()
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
        with connection.cursor() as cursor:
            cursor.execute(self._statement(connection), [*prepared, key])
            return int(cursor.rowcount)

    def _statement(self, connection: Any) -> str:
        quote = connection.ops.quote_name
        settings = ", ".join(f"{quote(field.column)} = %s" for field in self._fields)
        table, key = self._model._meta.db_table, self._model._meta.pk.column
        return f"UPDATE {quote(table)} SET {settings} WHERE {quote(key)} = %s"  # noqa: S608  names of our own columns


class PreparedLookup(Generic[Row]):
    """A queryset of rows by any of many keys; compiled once for 1, 2, 4, 8 … keys."""

    def __init__(
        self, build: Callable[[Sequence[Any]], models.QuerySet[Any, Row]]
    ) -> None:
        self._build = build
        self._sizes: dict[int, PreparedQuery[Row]] = {}

    def __call__(self, keys: Sequence[int]) -> list[Row]:
        """Return the rows of these keys; a key may be repeated."""
        if not keys:
            return []
        size = 1 << (len(keys) - 1).bit_length()
        query = self._sizes.get(size)
        if query is None:
            fields = [models.BigIntegerField() for _ in range(size)]
            query = PreparedQuery(lambda *given: self._build(given), *fields)
            self._sizes[size] = query
        return query(*keys, *[keys[-1]] * (size - len(keys)))
