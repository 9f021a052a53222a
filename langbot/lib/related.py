"""Relations to rows that the site in use cannot search, such as a project's people."""

from typing import Any

from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.widgets import (
    ForeignKeyRawIdWidget,
    RelatedFieldWidgetWrapper,
)
from django.core.checks import CheckMessage
from django.db.models import Model
from django.http import HttpRequest

# Django's refusals of `autocomplete_fields` that this site cannot search.
_NOT_SEARCHED = frozenset({"admin.E039", "admin.E040"})


class RelatedMixin:
    """Fields that choose other rows.

    They ask for an id in place of a search that this site does not offer.

    The apps' admin classes cannot know whether a project registers its user model.
    """

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        found: list[CheckMessage] = super().check(**kwargs)  # type: ignore[misc]  # of the admin class beside this
        return [message for message in found if message.id not in _NOT_SEARCHED]

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer no deletion beside a choice: a workspace goes with all it has."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]  # as above
        if isinstance(field and field.widget, RelatedFieldWidgetWrapper):
            field.widget.can_delete_related = False
        return field

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        admin: Any = self
        relation = db_field.remote_field
        searched = db_field.name in admin.get_autocomplete_fields(request)
        if searched and not _can_search(admin.admin_site, relation.model, request):
            kwargs["widget"] = ForeignKeyRawIdWidget(relation, admin.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # as above


def _can_search(site: Any, model: type[Model], request: HttpRequest) -> bool:
    try:
        registered = site.get_model_admin(model)
    except NotRegistered:
        return False
    return bool(registered.get_search_fields(request))
