"""The test of an agent: a chat, and beside it the ledger of the run, as it grows.

The page talks to the same REST and the same stream that programs use, with the
session of the person.
"""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.translation import gettext as _

from agents.admin.insight import page_context
from agents.models import Agent
from langbot.core.access import workspace_of_user
from langbot.core.audited_admin import AuditedAdmin
from runners.admin.wording import WAITS, label_of, waiting_words
from runners.choices import EventType, RunStatus

_ANY = UUID(int=0)  # stands in the addresses for an id that the script puts there


class TrialAdmin(AuditedAdmin):
    """Adds `<agent>/test/` to the pages of agents."""

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.trial_view)
        name = "langbot_agents_agent_test"
        return [path("<int:pk>/test/", view, name=name), *super().get_urls()]

    def trial_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the chat."""
        agent = self.get_object(request, str(pk))
        if agent is None:
            raise Http404
        if not self.has_view_permission(request, agent):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **page_context(agent),
            "title": _("Test of %(agent)s") % {"agent": agent},
            "opts": self.opts,
            "original": agent,
            "media": self.media,
            "addresses": _addresses(agent),
            "words": _words(agent),
            # REST works in one workspace per person.
            "is_elsewhere": workspace_of_user(request.user) != agent.workspace,
        }
        return TemplateResponse(request, "admin/langbot_agents/test.html", context)


def _addresses(agent: Any) -> dict[str, str]:
    """Return what the script calls; {} in a project that does not serve REST."""
    try:
        return {
            "test": reverse("langbot:agent-test", kwargs={"id": agent.public_id}),
            "again": reverse("langbot:conversation-messages", kwargs={"id": _ANY}),
            "stream": reverse("langbot:run-stream", kwargs={"id": _ANY}),
            "run": reverse("langbot:run-detail", kwargs={"id": _ANY}),
            "cancel": reverse("langbot:run-cancel", kwargs={"id": _ANY}),
            "queued": reverse("langbot:queued-detail", kwargs={"id": _ANY}),
            "page": reverse("admin:langbot_runners_agentrun_by_id", args=[_ANY]),
            "inbox": reverse("admin:langbot_runners_pendingaction_changelist"),
            "any": str(_ANY),
            "agent": str(agent.public_id),
        }
    except NoReverseMatch:
        return {}


def _words(agent: Agent) -> dict[str, Any]:
    return {
        "types": {kind.value: label_of(kind) for kind in EventType},
        "statuses": {status.value: str(status.label) for status in RunStatus},
        "you": _("You"),
        "sending": _("Sending…"),
        "waiting": _("Waits for the message before it…"),
        "running": _("The agent answers…"),
        "busy": _("Please wait for the answer, or stop it."),
        "decides": _("Waiting for a person to decide"),
        "inbox": _("Inbox"),
        "waits": {reason: waiting_words(reason, agent.runner_id) for reason in WAITS},
        "refused": _("The host refused the message: %s"),
        "unreachable": _("The host cannot be reached."),
        "open": _("Open this run"),
        "started": _("New conversation"),
        "nothing": _("(no text)"),
    }
