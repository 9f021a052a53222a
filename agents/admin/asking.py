"""Who would answer? A dry run of matching, the same as `bindings/resolve/` of REST."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.apps import apps
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agents.explaining import Explanation, explain
from agents.models import AgentBinding
from agents.registry.config_widgets import SuggestingInput
from langbot.core.access import visible_rows
from langbot.core.audited_admin import AuditedAdmin
from langbot.core.models import Workspace
from langbot.lib.admin import dress
from langbot.lib.forms import ReadableJSONField
from runners.admission import BotRef, Incoming
from runners.dry_runs import candidate_of

EVENT_TYPES = ("message.received", "group.member_joined", "group.member_left")


@dataclass(frozen=True, slots=True)
class Answer:
    """A binding with the reason why it lost; nothing is named of other workspaces."""

    name: str
    agent: str
    reason: str = ""
    url: str = ""
    agent_url: str = ""


class EventForm(forms.Form):
    """An event, as far as matching looks at it."""

    workspace = forms.ModelChoiceField(
        Workspace.objects.none(), label=gettext_lazy("Workspace"), empty_label=None
    )
    bot = forms.ChoiceField(label=gettext_lazy("Bot"), required=False)
    type = forms.CharField(
        label=gettext_lazy("Event type"),
        max_length=100,
        initial=EVENT_TYPES[0],
        widget=SuggestingInput([(name, name) for name in EVENT_TYPES]),
    )
    actor = forms.CharField(
        label=gettext_lazy("Person"), max_length=200, required=False
    )
    conversation = forms.CharField(
        label=gettext_lazy("Conversation"), max_length=200, required=False
    )
    text = forms.CharField(label=gettext_lazy("Text"), max_length=1000, required=False)
    facts = ReadableJSONField(
        label=gettext_lazy("More facts"),
        required=False,
        initial=dict,
        help_text=gettext_lazy("A JSON object that filters may compare with."),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By name: `platforms` is a layer above this app.
        bots = apps.get_model("langbot_platforms", "Bot")._default_manager
        places: Any = self.fields["workspace"]
        places.queryset = visible_rows(request.user, Workspace.objects.order_by("name"))
        self.bots = {
            bot.slug: bot for bot in visible_rows(request.user, bots.order_by("name"))
        }
        choices: Any = self.fields["bot"]
        none = (("", _("none: sent by a program")),)
        choices.choices = [
            *none,
            *((slug, f"{bot.name} ({slug})") for slug, bot in self.bots.items()),
        ]
        dress(self.fields.values())

    def defaults(self) -> dict[str, str]:
        """Return what stands in the empty form: an address may leave it out."""
        first: Any = self.fields["workspace"]
        workspace = first.queryset.values_list("pk", flat=True).first()
        return {"workspace": str(workspace), "type": EVENT_TYPES[0], "facts": "{}"}

    def clean_facts(self) -> dict[str, Any]:
        """Return the facts; anything but an object is refused."""
        facts = self.cleaned_data["facts"] or {}
        if not isinstance(facts, dict):
            raise forms.ValidationError(_("Enter a JSON object."))
        return facts

    def explanation(self) -> Explanation:
        """Return who would answer; call it on a valid form."""
        given = self.cleaned_data
        bot = self.bots.get(given["bot"])
        incoming = Incoming(
            workspace=given["workspace"],
            source="dry run",
            event_id="dry run",
            type=given["type"],
            trigger_source="api",
            bot=BotRef(bot.public_id, bot.slug) if bot is not None else None,
            external_conversation=given["conversation"],
            actor={"id": given["actor"]} if given["actor"] else {},
            input={"text": given["text"]},
            data=given["facts"],
        )
        return explain(candidate_of(incoming))


class AskingAdmin(AuditedAdmin):
    """Adds `who-answers/` to the pages of bindings."""

    change_list_template = "admin/langbot_agents/bindings.html"

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.asking_view)
        name = "langbot_agents_agentbinding_who"
        return [path("who-answers/", view, name=name), *super().get_urls()]

    def asking_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, and what became of an event like the one in the address."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = EventForm(request)
        if request.GET:
            form = EventForm(request, {**form.defaults(), **request.GET.dict()})
        context = {
            **self.admin_site.each_context(request),
            "title": _("Who would answer?"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
        }
        if form.is_bound and form.is_valid():
            context |= _answers(request, form.explanation())
        template = "admin/langbot_agents/who_answers.html"
        return TemplateResponse(request, template, context)


def _answers(request: HttpRequest, found: Explanation) -> dict[str, Any]:
    rows = [found.winner, *found.tied, *(row for row, _reason in found.lost)]
    seen = _visible(request, [row for row in rows if row is not None])
    return {
        "is_answered": True,
        "winner": found.winner and _answer(found.winner, seen),
        "tied": [_answer(row, seen) for row in found.tied],
        "lost": list(_lost(found, seen)),
        "unnamed": found.lost_count - len(found.lost),
    }


def _visible(request: HttpRequest, rows: list[AgentBinding]) -> set[int]:
    mine = visible_rows(
        request.user, AgentBinding.objects.filter(pk__in=[row.pk for row in rows])
    )
    return set(mine.values_list("pk", flat=True))


def _lost(found: Explanation, seen: set[int]) -> Iterator[Answer]:
    for row, reason in found.lost:
        yield _answer(row, seen, reason)


def _answer(row: AgentBinding, seen: set[int], reason: str = "") -> Answer:
    if row.pk not in seen:
        return Answer(_("a global binding of another workspace"), "—", reason)
    place = f": {row.scope_ref}" if row.scope_ref else ""
    return Answer(
        name=f"{row.get_scope_display()}{place} · {row.event_pattern}",
        agent=str(row.agent),
        reason=reason,
        url=reverse("admin:langbot_agents_agentbinding_change", args=[row.pk]),
        agent_url=reverse("admin:langbot_agents_agent_change", args=[row.agent_id]),
    )
