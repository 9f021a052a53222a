"""Labels and problems of runs, as SQL that both databases find by an index.

Few runs of many have any: the index holds only those. Its condition and the filter
have to be the same SQL, with no parameter inside, or it would not be used.
"""

from typing import Any

from django.db.models import BooleanField, F, Func, Q


class IsLabelled(Func):
    """Whether a list of labels has one."""

    template = "JSON_EXTRACT(%(expressions)s, '$[0]') IS NOT NULL"
    output_field = BooleanField()
    arity = 1

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(%(expressions)s -> 0) IS NOT NULL"
        return self.as_sql(compiler, connection, template=template, **context)


class HasLabel(Func):
    """Whether a list of labels has this one."""

    template = "EXISTS (SELECT 1 FROM JSON_EACH(%(expressions)s) WHERE value = %%s)"
    output_field = BooleanField()
    arity = 1

    def __init__(self, column: str, label: str) -> None:
        super().__init__(F(column))
        self.label = label

    def as_sql(
        self, compiler: Any, connection: Any, *args: Any, **context: Any
    ) -> tuple[str, Any]:
        sql, params = super().as_sql(compiler, connection, *args, **context)
        return sql, (*params, self.label)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "%(expressions)s @> TO_JSONB(%%s::text)"
        return self.as_sql(compiler, connection, template=template, **context)


class HasText(Func):
    """Whether a text is not empty."""

    template = "%(expressions)s <> ''"
    output_field = BooleanField()
    arity = 1


def has_problem() -> Q:
    """Select runs with an error code: the condition of the index."""
    return Q(HasText("error_code"))


def is_labelled() -> Q:
    """Select runs that have a label: the condition of the index."""
    return Q(IsLabelled("labels"))


def has_label(label: str) -> Q:
    """Select runs with this label."""
    return is_labelled() & Q(HasLabel("labels", label))


__all__ = [
    "HasLabel",
    "HasText",
    "IsLabelled",
    "has_label",
    "has_problem",
    "is_labelled",
]
