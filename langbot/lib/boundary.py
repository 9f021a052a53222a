"""The tenant boundary of every admin page; `langbot.core` says where it runs.

Admin bases of `langbot.lib.admin` carry these mixins, so a new page is bounded without
saying so. Until an implementation is registered nothing is shown.
"""

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

from django.contrib.admin.filters import FieldListFilter, RelatedFieldListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest

from langbot.lib.forms import SecretField

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Boundary(Protocol):
    """Whose rows a person may see."""

    def rows(
        self, request: HttpRequest, rows: QuerySet[Any], *, shared: bool
    ) -> QuerySet[Any]:
        """Keep the rows of the person's workspaces.

        `shared`: also those that belong to no workspace and serve all.
        """

    def may_change(self, request: HttpRequest, row: Model) -> bool:
        """Whether the row is the person's to change; permissions are asked apart."""

    def may_share(self, request: HttpRequest) -> bool:
        """Whether the person may make rows that serve every workspace."""

    def may_write_secrets(self, request: HttpRequest, row: Model | None) -> bool:
        """Whether the person may enter keys, tokens and passwords."""


_in_use: list[Boundary] = []


def use(boundary: Boundary) -> None:
    """Set the implementation; called once, when `langbot.core` is ready."""
    _in_use[:] = [boundary]


def in_use() -> Boundary:
    """Return the implementation; raises ImproperlyConfigured without one."""
    if not _in_use:
        message = "langbot.core is not among the installed apps"
        raise ImproperlyConfigured(message)
    return _in_use[0]


class _BoundedChoices:
    """Offers only rows of the person's workspaces in a list's filter."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, str]]:
        rows = field.remote_field.model._default_manager.all()
        found = in_use().rows(request, rows, shared=True)
        return [(row.pk, str(row)) for row in found]


def bounded_filter(kind: type[RelatedFieldListFilter]) -> type[FieldListFilter]:
    """Return a filter of a relation that offers no rows of other workspaces."""
    return type(f"Bounded{kind.__name__}", (_BoundedChoices, kind), {})


class BoundedMixin:
    """What pages and inlines share: their rows, and the choices of their fields."""

    # Whether everybody may read the rows that belong to no workspace.
    shares_rows = False

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)  # type: ignore[misc]  # Django's admin bases have it
        # What all share is changed by nobody who stands in one workspace.
        shared = self.shares_rows and request.method in _READING
        return in_use().rows(request, rows, shared=shared)

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # as above
        if field is not None:
            field.queryset = in_use().rows(request, field.queryset, shared=False)
            if db_field.name == "workspace" and not in_use().may_share(request):
                field.required = True
        return field

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]  # as above
        if field is not None:
            field.queryset = in_use().rows(request, field.queryset, shared=False)
        return field

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed: bool = super().has_change_permission(request, obj)  # type: ignore[misc]  # as above
        return allowed and (obj is None or in_use().may_change(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed: bool = super().has_delete_permission(request, obj)  # type: ignore[misc]  # as above
        return allowed and (obj is None or in_use().may_change(request, obj))


class BoundedAdminMixin(BoundedMixin):
    """A page: rows of other workspaces do not exist, and no row moves to another."""

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        filters: Iterable[Any] = super().get_list_filter(request)  # type: ignore[misc]  # as above
        return [self._bounded(one) for one in filters]

    def _bounded(self, given: Any) -> Any:
        path, kind = given if isinstance(given, tuple) else (given, None)
        if not isinstance(path, str) or not self._is_relation(path):
            return given
        return (path, bounded_filter(kind or RelatedFieldListFilter))

    def _is_relation(self, path: str) -> bool:
        try:
            fields = get_fields_from_path(self.model, path)  # type: ignore[attr-defined]  # as above
        except FieldDoesNotExist:
            return False
        return bool(fields[-1].is_relation)

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, *change, **kwargs)  # type: ignore[misc]  # as above
        if obj is not None and "workspace" in form.base_fields:
            form.base_fields["workspace"].disabled = True
        if not in_use().may_write_secrets(request, obj):
            for field in form.base_fields.values():
                if isinstance(field, SecretField):
                    field.disabled = True
        return form

    def _get_obj_does_not_exist_redirect(self, *_args: Any) -> NoReturn:
        # Django's own answer is a message on another page.
        raise Http404
