"""Model bases shared by every app."""

from functools import reduce
from typing import Any, ClassVar, NoReturn, TypeVar

from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from langbot.lib.ids import uuid7


class PublicModel(models.Model):
    """A row that clients name by a UUIDv7, never by its key."""

    public_id = models.UUIDField(
        _("id"), default=uuid7, unique=True, editable=False, db_index=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True, editable=False)

    class Meta:
        abstract = True


class AppendOnlyError(TypeError):
    """A log row was about to be changed or removed outside retention."""


Row = TypeVar("Row", bound=models.Model)


class NaturalKeyModel(models.Model):
    """A row that fixtures name by what people know it by, not by its number."""

    NATURAL_KEY: ClassVar[tuple[str, ...]]
    """Names of unique fields; `owner__name` reads across a relation."""

    class Meta:
        abstract = True

    def natural_key(self) -> tuple[str, ...]:
        """Return what `dumpdata --natural-primary` writes."""
        paths = (name.split("__") for name in self.NATURAL_KEY)
        return tuple(str(reduce(getattr, path, self)) for path in paths)


class NaturalKeyQuerySet(models.QuerySet[Row]):
    """Finds rows of a `NaturalKeyModel` again when a fixture is loaded."""

    def get_by_natural_key(self, *values: str) -> Row:
        """Return the row of this key; raises DoesNotExist."""
        names: tuple[str, ...] = self.model.NATURAL_KEY  # type: ignore[attr-defined]  # not of every row's type
        return self.get(**dict(zip(names, values, strict=True)))


class AppendOnlyQuerySet(models.QuerySet[Row]):
    """Refuses bulk changes; `purge` is the one door for retention."""

    def update(self, **_kwargs: Any) -> NoReturn:
        raise AppendOnlyError(self.model.__name__)

    def delete(self) -> NoReturn:
        raise AppendOnlyError(self.model.__name__)

    def purge(self) -> int:
        """Delete the selected rows for retention; returns how many went."""
        return super().delete()[0]


class AppendOnlyModel(models.Model):
    """A row that is written once."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError(type(self).__name__)
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise AppendOnlyError(type(self).__name__)


def lock_rows(
    queryset: models.QuerySet[Row], *, skip_locked: bool = False
) -> list[Row]:
    """Lock rows in id order, the order that every transaction keeps."""
    return list(locking(queryset, skip_locked=skip_locked))


def locking(
    queryset: models.QuerySet[Row], *, skip_locked: bool = False
) -> models.QuerySet[Row]:
    """Return the queryset that locks its rows in id order.

    `skip_locked` leaves out those that another transaction holds.

    The lock is the one that an UPDATE takes: rows that only refer to these, by foreign
    key, do not wait for it, which would be a second order of locks.
    SQLite has no row locks: IMMEDIATE transactions hold its one write lock already.
    """
    ordered = queryset.order_by("pk")
    if connections[ordered.db].features.has_select_for_update:
        ordered = ordered.select_for_update(
            of=("self",), no_key=True, skip_locked=skip_locked
        )
    return ordered


__all__ = [
    "AppendOnlyError",
    "AppendOnlyModel",
    "AppendOnlyQuerySet",
    "NaturalKeyModel",
    "NaturalKeyQuerySet",
    "PublicModel",
    "lock_rows",
    "locking",
]
