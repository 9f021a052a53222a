"""What every admin class of ours shares: audited changes, and who may make them."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext

from langbot.core.access import (
    administered_ids,
    author_of,
    visible_rows,
    workspace_ids,
)
from langbot.core.audit import record_act, record_change, state_of
from langbot.core.models import Workspace
from langbot.core.tenancy import path_to_workspace, workspace_id_of
from langbot.lib import admin as look


def usual_workspace(request: HttpRequest) -> Workspace | None:
    """Return the person's first workspace, or the only one that they see."""
    mine = workspace_ids(request.user)
    if mine:
        return Workspace.objects.filter(pk=mine[0]).first()
    seen = visible_rows(request.user, Workspace.objects.order_by("pk"))[:2]
    workspaces = list(seen)
    return workspaces[0] if len(workspaces) == 1 else None


class AuditedAdmin(look.ModelAdmin):
    """Writes an audit entry for every change made in the admin."""

    Media = look.Media

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if any(field.name == "workspace" for field in self.model._meta.fields):
            workspace = usual_workspace(request)
            if workspace is not None:
                initial.setdefault("workspace", workspace.pk)
        return initial

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        # Recorded by `save_related`: only then are many-to-many values stored.
        rows = type(obj)._default_manager
        obj.audited_before = state_of(rows.get(pk=obj.pk)) if change else {}
        super().save_model(request, obj, form, change)

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: Any
    ) -> None:
        before = getattr(form.instance, "audited_before", None)
        with transaction.atomic():
            super().save_related(request, form, formsets, change)
            if before is not None:
                record_change(author_of(request), form.instance, before)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: Any
    ) -> None:
        """Save an inline's rows, an entry for each."""
        author, rows = author_of(request), formset.model._default_manager
        changed = formset.save(commit=False)
        with transaction.atomic():
            for row in changed:
                before = state_of(rows.get(pk=row.pk)) if row.pk else {}
                row.save()
                record_change(author, row, before)
            for row in formset.deleted_objects:
                record_act(author, "deleted", row, before=state_of(row))
                row.delete()
            formset.save_m2m()

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        with transaction.atomic():
            record_act(author_of(request), "deleted", obj, before=state_of(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)


class AdministeredAdmin(AuditedAdmin):
    """What a workspace's own admins look after: itself, its members, its accounts.

    The permission says that a person may do it at all, the role `admin` where.
    """

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        person: Any = request.user
        if person.is_superuser or request.method in {"GET", "HEAD", "OPTIONS"}:
            return rows
        model: type[Model] = self.model
        path = path_to_workspace(model)
        return rows.filter(**{f"{path}__in": administered_ids(person)})

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        person: Any = request.user
        if db_field.name == "workspace" and not person.is_superuser:
            field.queryset = field.queryset.filter(pk__in=administered_ids(person))
        return field

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        # Its address would offer more than the field accepts.
        wide = super().get_autocomplete_fields(request)
        return wide if request.user.is_superuser else []

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and self._is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and self._is_theirs(request, obj)

    def _is_theirs(self, request: HttpRequest, obj: Any) -> bool:
        person: Any = request.user
        if obj is None or person.is_superuser:
            return True
        return workspace_id_of(obj) in administered_ids(person)


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
                    before = state_of(token)
                    token.revoked_at = now
                    record_change(author_of(request), token, before, action="revoked")
        count = queryset.exclude(revoked_at=None).count()
        message = ngettext(
            "%(count)d token is revoked.", "%(count)d tokens are revoked.", count
        )
        self.message_user(request, message % {"count": count}, messages.SUCCESS)
