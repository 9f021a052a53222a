"""The page of an admin list: what its rows lack is read at once, broken ones go."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import lookup_field
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import ngettext

from langbot.lib.rows import read_page, shown


class _Columns:
    """The admin of one page: what it computes for a row, it computes once.

    The page is looked through before it is drawn, and drawing asks again.
    """

    def __init__(self, admin: Any, names: Iterable[str]) -> None:
        self._admin, self._names = admin, frozenset(names)
        self._columns: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name in self._columns:
            return self._columns[name]
        found = getattr(self._admin, name)
        if name in self._names and callable(found):
            found = self._columns[name] = _once_a_row(found)
        return found


def _once_a_row(column: Callable[[Model], Any]) -> Callable[[Model], Any]:
    shown: dict[Any, Any] = {}

    @wraps(column)
    def remembered(row: Model) -> Any:
        if row.pk not in shown:
            shown[row.pk] = column(row)
        return shown[row.pk]

    return remembered


class _SoundRows:
    """A change list whose page has only rows that every column can show."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)  # type: ignore[misc]  # of the list beside this
        if not (self.query or self.has_active_filters):  # type: ignore[attr-defined]  # as above
            # All are shown: there is nothing that "Show all" could add.
            self.full_result_count: Any = self.result_count  # type: ignore[attr-defined]  # as above
        self.model_admin: Any = _Columns(self._admin, self._names)
        page = read_page(self.result_list)
        self.model_admin.complete(page.rows, request.user)
        self.result_list: Any = [row for row in page.rows if self._is_sound(row)]
        broken = len(page.keys) - len(self.result_list)
        if broken:
            self._tell(request, broken)

    def get_ordering_field(self, field_name: Any) -> Any:
        # Django leaves the link out of a column's head, and obeys an address anyway.
        if field_name not in self.sortable_by:  # type: ignore[attr-defined]  # as above
            return None
        return super().get_ordering_field(field_name)  # type: ignore[misc]  # as above

    def _is_sound(self, row: Model) -> bool:
        return shown(row, lambda: self._values(row)) is not None

    def _values(self, row: Model) -> list[Any]:
        return [lookup_field(name, row, self.model_admin) for name in self._names]

    @cached_property
    def _admin(self) -> Any:
        return self.model_admin

    @cached_property
    def _names(self) -> list[str]:
        # Not the box that selects a row: a template of its own, and no content.
        return [name for name in self.list_display if name != "action_checkbox"]  # type: ignore[attr-defined]  # as above

    def _tell(self, request: HttpRequest, count: int) -> None:
        text = ngettext(
            "%(count)d row of this page cannot be read and is left out; "
            "the log says why.",
            "%(count)d rows of this page cannot be read and are left out; "
            "the log says why.",
            count,
        )
        self._admin.message_user(request, text % {"count": count}, messages.ERROR)


def sound(kind: type[ChangeList]) -> type[ChangeList]:
    """Return a change list that leaves broken rows out; its count keeps them."""
    return type(f"Sound{kind.__name__}", (_SoundRows, kind), {})


__all__ = ["sound"]
