"""Versions of agents: what each save made of one, and the way back."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from agents.models import AgentVersion
from agents.services import restore_version, whole_content
from langbot.core.admin import author_of
from langbot.lib import admin as look


@admin.register(AgentVersion)
class AgentVersionAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["agent", "number", "author", "created_at"]
    list_filter = ["agent"]
    list_select_related = ["agent"]
    search_fields = ["agent__name", "author"]
    fields = ["agent", "number", "author", "created_at", "differences", "data"]
    readonly_fields = ["differences"]
    change_form_template = "admin/langbot_agents/version.html"

    @admin.display(description=_("changed since the version before"))
    def differences(self, version: AgentVersion) -> str:
        before = AgentVersion.objects.filter(
            agent=version.agent_id, number=version.number - 1
        ).first()
        if before is None:
            return str(_("the first version"))
        old, new = whole_content(before), whole_content(version)
        names = [name for name in new if old[name] != new[name]]
        return format_html("{}", ", ".join(names) or _("nothing"))

    def get_urls(self) -> Any:
        restore = self.admin_site.admin_view(self.restore_view)
        name = "langbot_agents_agentversion_restore"
        return [path("<int:pk>/restore/", restore, name=name), *super().get_urls()]

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the agent what it was in this version."""
        version = get_object_or_404(self.get_queryset(request), pk=pk)
        here = reverse("admin:langbot_agents_agentversion_change", args=[pk])
        if not request.user.has_perm("langbot_agents.change_agent"):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(here)
        try:
            agent = restore_version(
                version.agent, version.number, author=author_of(request)
            )
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return HttpResponseRedirect(here)
        done = _("%(agent)s is as it was in version %(number)d.")
        self.message_user(request, done % {"agent": agent, "number": version.number})
        there = reverse("admin:langbot_agents_agent_change", args=[agent.pk])
        return HttpResponseRedirect(there)
