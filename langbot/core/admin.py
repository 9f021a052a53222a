"""Admin of workspaces and access, and what every admin class of ours shares."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext

from langbot.core.audit import changes, record_act, state_of
from langbot.core.models import ApiToken, AuditLog, Membership, Workspace
from langbot.core.tokens import create_api_token
from langbot.lib import admin as look
from langbot.lib.forms import LinesField


def author_of(request: HttpRequest) -> str:
    """Return the name under which the audit log keeps the acting person."""
    return request.user.get_username()


def usual_workspace(request: HttpRequest) -> Workspace | None:
    """Return the person's first workspace, or the only one that there is."""
    person: Any = request.user  # nobody comes here without logging in
    membership = (
        Membership.objects.filter(user=person)
        .select_related("workspace")
        .order_by("pk")
        .first()
    )
    if membership is not None:
        return membership.workspace
    workspaces = list(Workspace.objects.order_by("pk")[:2])
    return workspaces[0] if len(workspaces) == 1 else None


class AuditedAdmin(look.ModelAdmin):  # type: ignore[type-arg]  # one of two bases
    """Writes an audit entry for every change made in the admin."""

    Media = look.Media

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if any(field.name == "workspace" for field in self.model._meta.fields):
            workspace = usual_workspace(request)
            if workspace is not None:
                initial.setdefault("workspace", workspace.pk)
        return initial

    def save_model(
        self, request: HttpRequest, obj: Model, form: Any, change: Any
    ) -> None:
        rows = type(obj)._default_manager
        before = state_of(rows.get(pk=obj.pk)) if change else {}
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if form.has_changed() or not change:
                old, new = changes(before, state_of(obj))
                action = "changed" if change else "created"
                record_act(author_of(request), action, obj, before=old, after=new)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        with transaction.atomic():
            record_act(author_of(request), "deleted", obj, before=state_of(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)


class TokenAdmin(AuditedAdmin):
    """Tokens: their plain text is on the page that follows their making, only there."""

    list_display = ["label", "workspace", "begins", "state", "last_used_at"]
    list_filter = ["workspace"]
    list_select_related = ["workspace"]
    search_fields = ["label", "prefix"]
    readonly_fields = ["prefix", "created_at", "last_used_at", "revoked_at"]
    actions = ["revoke"]

    def make_token(self, row: Any) -> tuple[Model, str]:
        """Store a token like `row`; returns it and its plain text."""
        raise NotImplementedError

    @admin.display(description=_("begins with"))
    def begins(self, token: Any) -> str:
        return f"{token.prefix}…"

    @admin.display(description=_("state"))
    def state(self, token: Any) -> str:
        expires = getattr(token, "expires_at", None)
        if token.revoked_at is not None:
            return look.badge(pgettext("status", "revoked"), look.BAD)
        if expires is not None and expires <= datetime.now(UTC):
            return look.badge(_("expired"), look.WARN)
        return look.badge(_("good"), look.GOOD)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # What a token grants is fixed when it is made.
        if obj is None:
            return ()
        names = [field.name for field in self.model._meta.fields]
        return [n for n in names if n not in {"id", "label", "token_hash"}]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoked tokens stay, so that the log can name them

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        if change:
            super().save_model(request, obj, form, change)
            return
        with transaction.atomic():
            row, plain = self.make_token(obj)
            record_act(author_of(request), "created", row, after=state_of(row))
        obj.__dict__.update(row.__dict__)
        obj.plain_token = plain

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Rendered, not redirected to: the plain text is stored nowhere, not even for
        # one request in a session.
        context = {
            **self.admin_site.each_context(request),
            "title": _("Token made"),
            "opts": self.opts,
            "token": obj,
            "plain_token": obj.plain_token,
            "media": self.media,
        }
        response = TemplateResponse(
            request, "admin/langbot_core/token_created.html", context
        )
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description=_("Revoke selected tokens"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        good = queryset.filter(revoked_at=None)
        for token in good:
            with transaction.atomic():
                now = datetime.now(UTC)
                if good.filter(pk=token.pk).update(revoked_at=now):
                    record_act(author_of(request), "revoked", token)
        count = queryset.exclude(revoked_at=None).count()
        message = ngettext(
            "%(count)d token is revoked.", "%(count)d tokens are revoked.", count
        )
        self.message_user(request, message % {"count": count}, messages.SUCCESS)


class MembershipInline(look.TabularInline):  # type: ignore[type-arg]  # as above
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Workspace)
class WorkspaceAdmin(AuditedAdmin):
    list_display = ["name", "slug", "created_at"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [MembershipInline]


@admin.register(Membership)
class MembershipAdmin(AuditedAdmin):
    list_display = ["user", "workspace", "role"]
    list_filter = ["workspace", "role"]
    list_select_related = ["user", "workspace"]
    search_fields = ["user__username", "workspace__name"]
    autocomplete_fields = ["user", "workspace"]


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    scopes = LinesField(
        label=_("scopes"), required=False, help_text=_("One per line; none means all.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scopes" in self.fields:
            look.dress([self.fields["scopes"]])


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

    def make_token(self, row: ApiToken) -> tuple[ApiToken, str]:
        return create_api_token(
            row.user,
            row.workspace,
            row.label,
            scopes=row.scopes,
            expires_at=row.expires_at,
        )


@admin.register(AuditLog)
class AuditLogAdmin(look.RecordAdmin):
    list_display = ["created_at", "actor", "action", "object_type", "object_id"]
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


def _theme_accounts() -> None:
    """Show Django's own users and groups in the theme, unless a project has its own."""
    user_model = get_user_model()
    registered = admin.site._registry.get(user_model)
    if not look.THEMED or type(registered) is not UserAdmin:
        return
    look.unregister(user_model, Group)

    class ThemedUserAdmin(UserAdmin, look.ModelAdmin):  # type: ignore[type-arg]  # as above
        form = look.UserChangeForm
        add_form = look.AdminUserCreationForm
        change_password_form = look.AdminPasswordChangeForm

    class ThemedGroupAdmin(GroupAdmin, look.ModelAdmin):  # type: ignore[type-arg]  # as above
        pass

    admin.site.register(user_model, ThemedUserAdmin)
    admin.site.register(Group, ThemedGroupAdmin)


_theme_accounts()
