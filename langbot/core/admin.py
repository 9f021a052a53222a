"""Admin of workspaces and access; the bases of every admin class come from here."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from langbot.core import admin_accounts, admin_notifications  # noqa: F401  registers pages
from langbot.core.access import author_of, visible_rows
from langbot.core.accounts import (
    create_service_account,
    may_act_as,
    may_grant,
    remove_service_account,
)
from langbot.core.audit_words import (
    action_words,
    address_of,
    kind_words,
    named_objects,
)
from langbot.core.audited_admin import AdministeredAdmin, AuditedAdmin, TokenAdmin
from langbot.core.models import (
    ApiToken,
    AuditLog,
    Membership,
    ServiceAccount,
    Workspace,
)
from langbot.core.periods import WorkspaceRetention
from langbot.core.tokens import METRICS, READ, WRITE, create_api_token, may_give
from langbot.lib import admin as look


class MembershipInline(look.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        return self.autocomplete_fields if request.user.is_superuser else []


class RetentionInline(look.StackedInline):
    """How long the workspace keeps things; without a saved row the defaults hold."""

    model = WorkspaceRetention
    max_num = 1
    can_delete = False


@admin.register(Workspace)
class WorkspaceAdmin(AdministeredAdmin):
    list_display = ["name", "slug", "created_at"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [MembershipInline, RetentionInline]

    # A tenant comes and goes by the hand of who looks after all of them.
    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser) and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and bool(request.user.is_superuser)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        editable = obj is None or self.has_change_permission(request, obj)
        return self.prepopulated_fields if editable else {}


@admin.register(Membership)
class MembershipAdmin(AdministeredAdmin):
    list_display = ["user", "workspace", "role"]
    list_filter = ["workspace", "role"]
    list_select_related = ["user", "workspace"]
    search_fields = [f"user__{get_user_model().USERNAME_FIELD}", "workspace__name"]
    autocomplete_fields = ["user", "workspace"]


class ServiceAccountForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """A service account and the groups that say what it may do."""

    maker: Any = None
    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        label=_("Groups"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What the account may do; never more than you may."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" in self.fields:
            look.dress([self.fields["groups"]])

    def clean_groups(self) -> list[str]:
        names = [group.name for group in self.cleaned_data["groups"]]
        if not may_grant(self.maker, names):
            message = _("These groups may do more than you may.")
            raise forms.ValidationError(message)
        return names


@admin.register(ServiceAccount)
class ServiceAccountAdmin(AdministeredAdmin):
    form = ServiceAccountForm
    list_display = ["name", "workspace", "user", "description", "created_at"]
    list_filter = ["workspace"]
    list_select_related = ["workspace", "user"]
    search_fields = ["name", "description"]
    actions: Any = None

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = ["name", "workspace", "description"]
        return [*names, "user"] if obj else [*names, "groups"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name", "user"] if obj else []

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        form.maker = request.user
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        if change:
            super().save_model(request, obj, form, change)
            return
        made = create_service_account(
            obj.workspace,
            obj.name,
            author=author_of(request),
            groups=form.cleaned_data["groups"],
            description=obj.description,
        )
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove_service_account(obj, author=author_of(request))


SCOPE_WORDS = [
    (READ, _("read: look at everything that its user may see")),
    (WRITE, _("write: change, send and run as its user may")),
    (METRICS, _("metrics: the totals of the whole installation, nothing else")),
]


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    maker: Any = None
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=SCOPE_WORDS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None ticked: whatever its user may do."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scopes" in self.fields:
            look.dress([self.fields["scopes"]])

    def clean_scopes(self) -> list[str]:
        scopes: list[str] = self.cleaned_data["scopes"]
        if not may_give(self.maker, scopes):
            raise forms.ValidationError(_("Only superusers give this scope."))
        return scopes


@admin.register(ApiToken)
class ApiTokenAdmin(TokenAdmin):
    form = ApiTokenForm
    list_display = ["label", "user", *TokenAdmin.list_display[1:], "expires_at"]
    list_select_related = ["workspace", "user"]
    fields = ["label", "user", "workspace", "scopes", "expires_at"]
    autocomplete_fields = ["user", "workspace"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ["prefix", "created_at", "last_used_at", "revoked_at"] if obj else []
        return [*self.fields, *shown]

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        form.maker = request.user
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"user": request.user.pk} | super().get_changeform_initial_data(request)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        return self.autocomplete_fields if request.user.is_superuser else []

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and not request.user.is_superuser:
            field.queryset = field.queryset.filter(pk__in=_token_users(request.user))
        return field

    def make_token(self, row: ApiToken) -> tuple[ApiToken, str]:
        return create_api_token(
            row.user,
            row.workspace,
            row.label,
            scopes=row.scopes,
            expires_at=row.expires_at,
        )


def _token_users(person: Any) -> list[Any]:
    """Return whose tokens a person may make: their own, and service accounts'."""
    accounts = visible_rows(person, ServiceAccount.objects.select_related("user"))
    users = [account.user for account in accounts]
    return [person.pk, *(user.pk for user in users if may_act_as(person, user))]


@admin.register(AuditLog)
class AuditLogAdmin(look.RecordAdmin):
    list_display = ["at", "actor", "source", "act", "kind", "thing"]
    fields = [
        *("at", "actor", "source", "act", "kind", "thing", "object_id"),
        *("workspace", "before", "after", "seal"),
    ]
    readonly_fields = ["at", "act", "kind", "thing"]
    list_select_related = ["workspace"]
    search_fields = ["object_id", "actor"]
    search_help_text = _("The whole id of an object, or the name of a person.")
    Media = look.Media

    class ObjectTypes(admin.SimpleListFilter):
        """The types that are audited, without asking the table for them."""

        title = _("object type")
        parameter_name = "object_type"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
            return [
                (model._meta.label_lower, model._meta.verbose_name)
                for model, registered in model_admin.admin_site._registry.items()
                if isinstance(registered, AuditedAdmin)
            ]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
            return queryset.filter(object_type=self.value()) if self.value() else None

    list_filter = [ObjectTypes]

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        _add_names(rows)

    @admin.display(description=_("time"), ordering="pk")
    def at(self, entry: AuditLog) -> str:
        shown = f"{localtime(entry.created_at):%Y-%m-%d %H:%M:%S}"
        return format_html('<span class="lb-when">{}</span>', shown)

    @admin.display(description=_("action"))
    def act(self, entry: AuditLog) -> str:
        return action_words(entry.action)

    @admin.display(description=_("object type"))
    def kind(self, entry: AuditLog) -> str:
        return kind_words(entry.object_type)

    @admin.display(description=_("object"))
    def thing(self, entry: Any) -> str:
        """Return its name with a link; of what is gone only the id is known."""
        if not hasattr(entry, "named"):
            _add_names([entry])
        if entry.named is None:
            return entry.object_id or "—"
        there = address_of(entry.object_type, entry.named.key)
        name = entry.named.name or entry.object_id
        if not there:
            return str(name)
        return format_html('<a class="lb-record" href="{}">{}</a>', there, name)


def _add_names(entries: Sequence[Any]) -> None:
    found = named_objects(entries)
    for entry in entries:
        entry.named = found.get((entry.object_type, entry.object_id))


admin_accounts.register()

__all__ = ["AuditedAdmin", "TokenAdmin", "author_of"]
