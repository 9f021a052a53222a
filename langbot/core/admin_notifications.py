"""Who is told what by mail, and which mails left."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of, visible_rows
from langbot.core.audit import record_change, state_of
from langbot.core.audited_admin import AuditedAdmin
from langbot.core.models import Membership, Workspace
from langbot.core.notices import (
    NoticeKind,
    NoticeStatus,
    Notification,
    NotificationPreference,
)
from langbot.core.notifications import is_configured, mail_address_of
from langbot.lib import admin as look

_TONES: dict[str, str] = {
    NoticeStatus.SENT: look.GOOD,
    NoticeStatus.FAILED: look.BAD,
    NoticeStatus.UNCERTAIN: look.WARN,
    NoticeStatus.WAITING: look.BUSY,
    NoticeStatus.SENDING: look.BUSY,
}
_NO_MAIL = _(
    "No mail is set up, so nobody is told anything: set EMAIL_HOST and "
    "DEFAULT_FROM_EMAIL."
)


class OwnForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """What a person wants to be told about one workspace."""

    class Meta:
        model = NotificationPreference
        fields = list(NoticeKind.values)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        look.dress(self.fields.values())


@admin.register(NotificationPreference)
class NotificationPreferenceAdmin(AuditedAdmin):
    class Media(look.Media):
        css = {"all": [*look.Media.css["all"], "langbot_admin/agents.css"]}

    list_display = ["user", "workspace", *NoticeKind.values]
    list_filter = ["workspace"]
    list_select_related = ["user", "workspace"]
    change_list_template = "admin/langbot_core/notifications.html"
    fieldsets = [
        (_("Who?"), {"fields": ["workspace", "user"]}),
        (
            _("What are they told by mail?"),
            {
                "fields": list(NoticeKind.values),
                "description": _("Each person only gets what they may see."),
            },
        ),
    ]

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.mine_view)
        name = "langbot_core_notificationpreference_mine"
        return [path("mine/", view, name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not is_configured():
            self.message_user(request, _NO_MAIL, messages.WARNING)
        return super().changelist_view(request, *args, **kwargs)

    def mine_view(self, request: HttpRequest) -> HttpResponse:
        """Show or save what the signed-in person wants to be told."""
        rows = [_own_row(request, one) for one in _own_workspaces(request.user)]
        data = request.POST if request.method == "POST" else None
        own = [OwnForm(data, instance=row, prefix=_prefix(row)) for row in rows]
        if request.method == "POST" and all(form.is_valid() for form in own):
            _save(request, own)
            self.message_user(request, _("Saved."), messages.SUCCESS)
            return HttpResponseRedirect(request.path)
        context = {
            **self.admin_site.each_context(request),
            "title": _("My mails"),
            "opts": self.opts,
            "forms": own,
            "address": mail_address_of(request.user),
            "is_configured": is_configured(),
            "no_mail": _NO_MAIL,
            "media": self.media,
            "back_url": reverse("admin:index"),
        }
        template = "admin/langbot_core/my_notifications.html"
        return TemplateResponse(request, template, context)


def _own_workspaces(person: Any) -> Iterable[Workspace]:
    """Return where a person may be told something: a superuser anywhere."""
    if person.is_superuser:
        return visible_rows(person, Workspace.objects.order_by("pk"))[:20]
    mine = Membership.objects.filter(user=person.pk).select_related("workspace")
    return [membership.workspace for membership in mine.order_by("pk")]


def _own_row(request: HttpRequest, workspace: Workspace) -> NotificationPreference:
    """Return the stored row, or a new one that wants nothing."""
    person: Any = request.user
    if not person.is_authenticated:
        raise PermissionDenied
    stored = NotificationPreference.objects.filter(user=person, workspace=workspace)
    nothing = dict.fromkeys(NoticeKind.values, False)
    blank = NotificationPreference(user_id=person.pk, workspace=workspace, **nothing)
    return stored.select_related("workspace").first() or blank


def _prefix(row: NotificationPreference) -> str:
    return f"workspace-{row.workspace_id}"


@transaction.atomic
def _save(request: HttpRequest, own: Iterable[OwnForm]) -> None:
    author = author_of(request)
    for form in own:
        if not form.has_changed():
            continue
        row = form.instance
        before = {}
        if row.pk:
            before = state_of(NotificationPreference.objects.get(pk=row.pk))
        form.save()
        record_change(author, row, before)


@admin.register(Notification)
class NotificationAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["at", "state", "kind", "recipient", "workspace", "last_error"]
    list_filter = ["status", "kind"]
    list_select_related = ["recipient", "workspace"]
    search_fields = ["key"]
    search_help_text = _("The whole id of what it is about.")
    ordering = ["-pk"]
    readonly_fields = ["state"]
    fields = [
        *("kind", "state", "recipient", "workspace", "key", "context"),
        *("attempts", "not_before", "sent_at", "last_error", "created_at"),
    ]

    @admin.display(description=_("time"), ordering="pk")
    def at(self, notice: Notification) -> str:
        shown = f"{localtime(notice.created_at):%Y-%m-%d %H:%M:%S}"
        return format_html('<span class="lb-when">{}</span>', shown)

    @admin.display(description=_("status"), ordering="status")
    def state(self, notice: Notification) -> str:
        tone = _TONES.get(notice.status, look.CALM)
        return look.badge(notice.get_status_display(), tone)
