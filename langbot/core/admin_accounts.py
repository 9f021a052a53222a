"""Django's own users and groups: in the theme, bounded and audited.

A project with admin classes of its own for them keeps those.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.core.audited_admin import AuditedAdmin
from langbot.core.roles import LABELS
from langbot.lib import admin as look

# Whoever may set these has every right there is.
_POWERS = ("is_superuser", "groups", "user_permissions")


class ThemedUserAdmin(UserAdmin, AuditedAdmin):  # type: ignore[type-arg]  # generic in stubs only
    form = look.UserChangeForm
    add_form = look.AdminUserCreationForm
    change_password_form = look.AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = super().get_readonly_fields(request, obj)
        return fixed if request.user.is_superuser else [*fixed, *_POWERS]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_delete_permission(request, obj)

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if _has_saved(request, response):
                user = get_user_model()._default_manager.get(pk=id)
                record_act(author_of(request), "password changed", user)
        return response


def change_own_password(request: HttpRequest) -> HttpResponse:
    """Show or save the form of the site in use, with an audit entry.

    The entry says that the password changed, never what it was or is.
    """
    with transaction.atomic():
        response = admin.site.password_change(request)
        if _has_saved(request, response):
            # The row itself: a request only holds a promise of it.
            key: Any = request.user.pk
            user = get_user_model()._default_manager.get(pk=key)
            record_act(author_of(request), "password changed", user)
    return response


def _has_saved(request: HttpRequest, response: HttpResponse) -> bool:
    return request.method == "POST" and isinstance(response, HttpResponseRedirect)


class ThemedGroupAdmin(GroupAdmin, AuditedAdmin):
    list_display = ["name", "about"]

    @admin.display(description=_("description"))
    def about(self, group: Group) -> str:
        return str(LABELS.get(group.name, "—"))


def register() -> None:
    """Replace Django's admin of users and groups, unless a project has its own."""
    user_model = get_user_model()
    registered = admin.site._registry.get(user_model)
    if not look.THEMED or type(registered) is not UserAdmin:
        return
    look.unregister(user_model, Group)
    admin.site.register(user_model, ThemedUserAdmin)
    admin.site.register(Group, ThemedGroupAdmin)
