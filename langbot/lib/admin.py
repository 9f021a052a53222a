"""The one place that knows the admin's theme.

Admin classes take their bases, badges and widgets from here. With django-unfold among
the installed apps they wear it; in any other project they are plain Django admin.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.paginator import Page, Paginator
from django.db import models
from django.db.models import Q, QuerySet, UUIDField
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from langbot.lib.boundary import BoundedAdminMixin, BoundedMixin
from langbot.lib.change_lists import sound
from langbot.lib.counts import EXACT_ROWS, roughly
from langbot.lib.related import RelatedMixin

THEMED = apps.is_installed("unfold")

if TYPE_CHECKING or not THEMED:
    from django.contrib.admin import ModelAdmin as _ModelAdmin
    from django.contrib.admin import SimpleListFilter as DropdownFilter
    from django.contrib.admin import StackedInline as _StackedInline
    from django.contrib.admin import TabularInline as _TabularInline
    from django.contrib.auth.forms import (
        AdminPasswordChangeForm,
        AdminUserCreationForm,
        UserChangeForm,
    )

    theme: Any = None
    SearchResult: Any = None
else:
    from unfold import widgets as theme
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.admin import StackedInline as _StackedInline
    from unfold.admin import TabularInline as _TabularInline
    from unfold.contrib.filters.admin import DropdownFilter
    from unfold.dataclasses import SearchResult
    from unfold.forms import (
        AdminPasswordChangeForm,
        UserChangeForm,
    )
    from unfold.forms import UserCreationForm as AdminUserCreationForm


class ModelAdmin(RelatedMixin, BoundedAdminMixin, _ModelAdmin):  # type: ignore[type-arg]  # one of two bases
    """A page of the admin, bounded by the person's workspaces."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return sound(super().get_changelist(request, **kwargs))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if ERROR_FLAG in request.GET:  # Django came here from such an address
            text = _("This list has no such filter: everything is shown.")
            self.message_user(request, text, messages.WARNING)
        return super().changelist_view(request, *args, **kwargs)

    def complete(self, rows: Sequence[models.Model], user: Any) -> None:
        """Give the rows of one page of the list what its columns show of others.

        No more than the person may see of them.
        """


class StackedInline(RelatedMixin, BoundedMixin, _StackedInline):  # type: ignore[type-arg]  # as above
    """Related rows, a form each, bounded as pages are."""


class TabularInline(RelatedMixin, BoundedMixin, _TabularInline):  # type: ignore[type-arg]  # as above
    """Related rows, a line each, bounded as pages are."""

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Name each field: a heading of its column is no label to a screen reader."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs.setdefault("aria-label", str(field.label))
        return field


# Tones of a badge; `static/langbot_admin/admin.css` colours them.
GOOD, BAD, BUSY, WARN, CALM = "good", "bad", "busy", "warn", "calm"


class LargeTablePaginator(Paginator):  # type: ignore[type-arg]  # generic in stubs
    """Neither counts a large table nor skips over one.

    Reaching page 20,000 would read a million rows to throw them away; who looks for
    something older narrows the list by period, id or status.
    """

    @cached_property
    def count(self) -> int:
        return roughly(cast("QuerySet[models.Model]", self.object_list))

    def page(self, number: int | str) -> Any:
        """Return a page; of the skipped rows only the keys are read."""
        number = self.validate_number(number)
        begin = (number - 1) * self.per_page
        if not begin:
            return super().page(number)
        rows = cast("QuerySet[models.Model]", self.object_list)
        keys = rows.values_list("pk", flat=True)[begin : begin + self.per_page]
        return Page(rows.filter(pk__in=list(keys)), number, self)

    @cached_property
    def num_pages(self) -> int:
        return min(super().num_pages, max(EXACT_ROWS // self.per_page, 1))


class RecordMixin:
    """What the host recorded: to be read, never edited."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they would count every choice of a filter
    paginator: Any = LargeTablePaginator
    list_per_page = 50
    # By time, which is the key's order; sorting a million rows takes seconds.
    sortable_by: Any = ("at",)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Compare whole values: ids and codes that an index finds."""
        text = search_term.strip()
        if not text:
            return queryset, False
        found = Q(pk__in=[])
        for name in getattr(self, "search_fields", ()):
            uuid = isinstance(get_fields_from_path(queryset.model, name)[-1], UUIDField)
            value = as_uuid(text) if uuid else text
            if value is not None:
                found |= Q(**{name: value})
        return queryset.filter(found), False

    def has_add_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def as_uuid(text: str) -> UUID | None:
    """Return the id that a text spells, None when it spells none."""
    try:
        return UUID(text)
    except ValueError:
        return None


class RecordAdmin(RecordMixin, ModelAdmin):
    """A read-only page per row, for logs and ledgers."""

    actions: Sequence[Any] | None = ()


def badge(text: Any, tone: str = CALM) -> SafeString:
    """Return a status badge; the tone is never the only carrier of the meaning."""
    return format_html('<span class="lb-badge lb-{}">{}</span>', tone, text)


def dress(fields: Iterable[forms.Field]) -> None:
    """Give hand-made form fields the look of the theme."""
    for field in fields:
        _dress_widget(field.widget)


def _dress_widget(widget: forms.Widget) -> None:
    if isinstance(widget, forms.MultiWidget):
        for part in widget.widgets:
            _dress_widget(part)
    elif THEMED:
        classes = _classes(widget)
        widget.attrs["class"] = " ".join([widget.attrs.get("class", ""), *classes])
        if isinstance(widget, forms.CheckboxSelectMultiple):
            widget.template_name = "unfold/widgets/radio.html"
            widget.option_template_name = "unfold/widgets/radio_option.html"
        elif isinstance(widget, forms.Select) and not widget.allow_multiple_selected:
            widget.template_name = "unfold/widgets/select.html"
    elif isinstance(widget, forms.Textarea):
        widget.attrs.setdefault("class", "vLargeTextField")


def _classes(widget: forms.Widget) -> list[str]:
    kinds: list[tuple[type[forms.Widget], list[str]]] = [
        (forms.CheckboxSelectMultiple, theme.CHECKBOX_CLASSES),
        (forms.CheckboxInput, theme.SWITCH_CLASSES),
        (forms.Select, theme.SELECT_CLASSES),
        (forms.Textarea, theme.TEXTAREA_CLASSES),
        (forms.HiddenInput, []),
        (forms.widgets.Input, theme.INPUT_CLASSES),
    ]
    return next((names for kind, names in kinds if isinstance(widget, kind)), [])


def unregister(*model_classes: type[models.Model]) -> None:
    """Take models off the site if they are on it."""
    for model in model_classes:
        if admin.site.is_registered(model):
            admin.site.unregister(model)


class Media:
    """Assets of every page of ours."""

    css = {"all": ["langbot_admin/admin.css"]}
    js = ["langbot_admin/admin.js"]


class RecordMedia(Media):
    """Assets of the pages of records."""

    css = {"all": [*Media.css["all"], "langbot_admin/records.css"]}


__all__ = [
    "BAD",
    "BUSY",
    "CALM",
    "GOOD",
    "WARN",
    "AdminPasswordChangeForm",
    "AdminUserCreationForm",
    "DropdownFilter",
    "LargeTablePaginator",
    "Media",
    "ModelAdmin",
    "RecordAdmin",
    "RecordMedia",
    "SearchResult",
    "StackedInline",
    "TabularInline",
    "UserChangeForm",
    "as_uuid",
    "badge",
    "dress",
    "unregister",
]
