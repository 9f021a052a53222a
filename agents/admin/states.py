"""Whether what people set up is in use: enabled, disabled or archived."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from langbot.lib import admin as look

_STATES: dict[str, tuple[Any, Q]] = {
    "enabled": (_("enabled"), Q(enabled=True, archived_at=None)),
    "disabled": (_("disabled"), Q(enabled=False, archived_at=None)),
    "archived": (pgettext_lazy("status", "archived"), Q(archived_at__isnull=False)),
}


class StateFilter(admin.SimpleListFilter):
    """Rows in one state; archived ones are among the others without it."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(name, text) for name, (text, _rows) in _STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        state = _STATES.get(self.value() or "")
        return queryset.filter(state[1]) if state else queryset


class StateColumn:
    """A list whose rows have `enabled` and `archived_at`."""

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, row: Any) -> str:
        if row.archived_at is not None:
            return look.badge(pgettext("status", "archived"))
        if row.enabled:
            return look.badge(_("enabled"), look.GOOD)
        return look.badge(_("disabled"), look.WARN)


__all__ = ["StateColumn", "StateFilter"]
