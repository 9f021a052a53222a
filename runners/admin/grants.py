"""Tools that people let an agent use without asking."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from langbot.core.access import author_of
from langbot.core.permissions import RESOLVE_ACTION
from langbot.lib import admin as look
from runners.actions import revoke_grant
from runners.admin.acts import Acts
from runners.admin.display import TimedList, link_to
from runners.admin.filters import AgentFilter
from runners.models import ToolGrant


@admin.register(ToolGrant)
class ToolGrantAdmin(Acts, look.RecordAdmin, TimedList):
    Media = look.RecordMedia
    list_display = ["at", "tool_name", "agent", "place", "granted_by_name", "state"]
    list_filter = [AgentFilter]
    list_select_related = ["agent", "conversation"]
    search_fields = ["tool_name"]
    search_help_text = _("The whole name of a tool.")
    ordering = ["-pk"]
    actions = ["revoke"]
    buttons = {"revoke": _("Ask again from now on")}
    dangerous = frozenset({"revoke"})
    change_form_template = "admin/langbot_runners/record.html"
    readonly_fields = ["place", "state"]
    fields = [
        *("tool_name", "agent", "place", "state", "granted_by_name", "action"),
        *("created_at", "revoked_at", "revoked_by_name"),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        related = rows.select_related("agent", "conversation", "action")
        return related.defer("agent__runner_config")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("original") is not None:
            context["offers"] = self.offered(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def offers(self, row: ToolGrant) -> Iterable[str]:
        if row.revoked_at is None:
            yield "revoke"

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Whether the person decides about tools."""
        return request.user.has_perm(RESOLVE_ACTION)

    @admin.action(
        description=_("Ask again before selected tools run"), permissions=["resolve"]
    )
    def revoke(self, request: HttpRequest, queryset: QuerySet[ToolGrant]) -> None:
        author = author_of(request)
        self.carry_out(request, queryset, lambda grant: revoke_grant(grant, author))

    @admin.display(description=_("where"))
    def place(self, grant: ToolGrant) -> str:
        if grant.conversation is None:
            return str(_("in all its conversations"))
        return link_to(grant.conversation)

    @admin.display(description=_("state"))
    def state(self, grant: ToolGrant) -> str:
        if grant.revoked_at is not None:
            return look.badge(pgettext("status", "revoked"), look.CALM)
        return look.badge(_("allowed"), look.GOOD)
