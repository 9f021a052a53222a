"""Agents: a form by question, with the settings of the chosen runner."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from agents.admin.bindings import BindingInline
from agents.admin.comparing import ComparingAdmin
from agents.admin.growing import GrowingAdmin
from agents.admin.insight import page_context
from agents.admin.registry import (
    RunnerState,
    first_runner,
    runner_choices,
    with_runner,
)
from agents.admin.run_counts import RunCounts
from agents.admin.states import StateColumn, StateFilter
from agents.admin.trial import TrialAdmin
from agents.approvals import approval_warnings
from agents.bindings import delete_binding, lock_places, save_binding
from agents.forms import AgentForm
from agents.models import Agent, AgentBinding, RunnerDescriptor
from agents.registry.config_items import localized
from agents.registry.models import UNUSABLE
from agents.services import (
    archive_agent,
    is_used,
    mask_config,
    remove_agent,
    save_agent,
    unarchive_agent,
)
from langbot.core.access import visible_rows
from langbot.core.admin import author_of
from langbot.core.retiring import RetiringAdmin, Use
from langbot.lib import admin as look

VIEW_FIELDSETS: Any = [
    (
        None,
        {
            "fields": [
                "name",
                "slug",
                "workspace",
                "description",
                "enabled",
                "owner",
                "runner_id",
                "masked_config",
                "event_types",
                "session_scope",
                "multitask_strategy",
                "resource_policy",
                "state_policy",
                "delivery_policy",
                "approval_policy",
            ]
        },
    )
]


def _count_of(model: type[AgentBinding]) -> Coalesce:
    """Return how many rows an agent has, without grouping its own columns."""
    rows = model.objects.filter(agent=OuterRef("pk")).order_by().values("agent")
    return Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)


@admin.register(Agent)
class AgentAdmin(
    RunCounts, StateColumn, TrialAdmin, ComparingAdmin, RetiringAdmin, GrowingAdmin
):
    form = AgentForm
    change_form_template = "admin/langbot_agents/agent.html"
    grown_title = _("How is the runner set up?")
    list_display = ["name", "slug", "workspace", "runner", "state", "bound", "runs"]
    list_filter = [StateFilter, "workspace"]
    list_select_related = ["workspace"]
    list_per_page = 50
    search_fields = ["name", "slug", "runner_id"]
    autocomplete_fields = ["workspace", "owner"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [BindingInline]
    actions = ["enable", "disable", "archive", "unarchive", "delete_selected"]
    fieldsets = [
        (
            _("Who is it?"),
            {
                "fields": [
                    "name",
                    "slug",
                    "workspace",
                    "description",
                    "enabled",
                    "owner",
                ]
            },
        ),
        (_("What runs it?"), {"fields": ["runner_id"]}),
        (
            _("When does it answer?"),
            {
                "fields": ["event_types", "session_scope", "multitask_strategy"],
                "description": _(
                    "Bindings say for which bots and events it is asked. They are "
                    "below, once the agent is saved."
                ),
            },
        ),
        (
            _("What may it use?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "resource_models",
                    "resource_tools",
                    "resource_agents",
                    "resource_client_tools",
                    "resource_knowledge_bases",
                    "resource_plugin_storage",
                    "resource_workspace_storage",
                    "resource_artifacts",
                ],
            },
        ),
        (
            _("What does it remember?"),
            {
                "classes": ["collapse"],
                "fields": ["state_enabled", "state_scopes", "state_expire"],
            },
        ),
        (
            _("How does it reply?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "delivery_reply",
                    "delivery_streaming",
                    "delivery_reasoning",
                    "delivery_maximum",
                    "delivery_ambiguous",
                ],
            },
        ),
        (
            _("Who approves its tools?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "approval_enabled",
                    "approval_mode",
                    "approval_allow",
                    "approval_ask",
                    "approval_deny",
                    "approval_reason",
                ],
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return with_runner(super().get_queryset(request)).annotate(
            bindings_count=_count_of(AgentBinding)
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        # To someone who may only look, the stored documents, secrets masked.
        return VIEW_FIELDSETS

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["masked_config"]

    @admin.display(description=_("runner configuration"))
    def masked_config(self, agent: Agent) -> str:
        shown = json.dumps(mask_config(agent.runner_config), indent=2)
        return format_html("<pre>{}</pre>", shown)

    def lock_for_change(self, request: HttpRequest, pk: Any) -> None:
        owner = Agent.objects.filter(pk=pk).values_list("workspace", flat=True)
        lock_places(*owner)  # the page saves bindings too
        super().lock_for_change(request, pk)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with a runner that works, set up as it proposes (LB-104)."""
        usual = {"runner_id": self.choice_of(request, None), "owner": request.user.pk}
        return usual | super().get_changeform_initial_data(request)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj is not None else []

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        form.base_fields["runner_id"].choices = runner_choices(
            request.user, get_language() or "en", keep=obj.runner_id if obj else ""
        )
        return form

    def choice_of(self, request: HttpRequest, obj: Any) -> str:
        choice = super().choice_of(request, obj)
        if obj is None and request.method == "GET" and "runner_id" not in request.GET:
            return first_runner(request)
        if obj is not None and obj.runner_id == choice:
            return choice
        # The settings of another workspace's runner are nobody else's to see.
        runners = RunnerDescriptor.objects.filter(runner_id=choice)
        seen = visible_rows(request.user, runners, shared=True)
        return choice if seen.exists() or not runners.exists() else ""

    def schema_of(self, choice: str) -> list[dict[str, Any]]:
        runner = RunnerDescriptor.objects.filter(runner_id=choice).first()
        return runner.config_schema if runner is not None else []

    def empty_text(self, choice: str) -> Any:
        usable = RunnerDescriptor.objects.exclude(UNUSABLE)
        if choice or usable.exists():
            return super().empty_text(choice)
        return format_html(
            '{} <a href="{}">{}</a>',
            _("There is no runner yet: install a plugin that brings one."),
            reverse("admin:langbot_agents_plugin_changelist"),
            _("Plugins"),
        )

    def stored_settings(self, obj: Any) -> dict[str, Any]:
        return mask_config(obj.runner_config)

    @admin.display(description=_("runner"), ordering="runner_id")
    def runner(self, agent: Any) -> str:
        label = localized(agent.runner_label, get_language() or "en")
        name = label or agent.runner_id.removeprefix("plugin:")
        if agent.runner_state == RunnerState.ONLINE:
            return str(name)
        state = RunnerState(agent.runner_state)
        return format_html("{} {}", name, look.badge(state.label, look.BAD))

    @admin.display(description=_("bindings"), ordering="bindings_count")
    def bound(self, agent: Any) -> int:
        return int(agent.bindings_count)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        save_agent(obj, author=author_of(request))
        for warning in approval_warnings(obj):
            self.message_user(request, warning, messages.WARNING)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("original") is not None:
            # The form may have changed its own copy already.
            context |= page_context(Agent.objects.get(pk=context["original"].pk))
        return super().render_change_form(request, context, *args, **kwargs)

    def uses_of(self, row: Agent) -> list[Use]:
        if not is_used(row):
            return []  # versions and bindings go with it
        runs = reverse("admin:langbot_runners_agentrun_changelist")
        return [Use(_("its runs"), f"{runs}?agent__id__exact={row.pk}")]

    def remove(self, row: Agent, author: str) -> bool:
        return remove_agent(row, author=author)

    def retired_message(self, count: int) -> str:
        done = ngettext(
            "%(count)d agent has runs: it is archived, its runs stay.",
            "%(count)d agents have runs: they are archived, their runs stay.",
            count,
        )
        return done % {"count": count}

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: Any
    ) -> None:
        changed = formset.save(commit=False)
        if formset.model is not AgentBinding:
            return
        author = author_of(request)
        for binding in changed:
            save_binding(binding, author=author)
        for binding in formset.deleted_objects:
            delete_binding(binding, author=author)

    @admin.action(description=_("Enable selected agents"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset.filter(enabled=False, archived_at=None), on=True)

    @admin.action(description=_("Disable selected agents"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset.filter(enabled=True), on=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[Agent], *, on: bool
    ) -> None:
        count = 0
        for agent in queryset:
            agent.enabled = on
            try:
                save_agent(agent, author=author_of(request))
            except ValidationError as error:
                problem = f"{agent}: {' '.join(error.messages)}"
                self.message_user(request, problem, messages.ERROR)
            else:
                count += 1
        done = ngettext("%(count)d agent changed.", "%(count)d agents changed.", count)
        self.message_user(request, done % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Archive selected agents"), permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        agents = list(queryset.filter(archived_at=None))
        for agent in agents:
            archive_agent(agent, author=author_of(request))
        done = ngettext(
            "%(count)d agent archived.", "%(count)d agents archived.", len(agents)
        )
        self.message_user(request, done % {"count": len(agents)}, messages.SUCCESS)

    @admin.action(description=_("Restore archived agents"), permissions=["change"])
    def unarchive(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        count = 0
        for agent in queryset.exclude(archived_at=None):
            try:
                unarchive_agent(agent, author=author_of(request))
            except ValidationError as error:
                problem = f"{agent}: {' '.join(error.messages)}"
                self.message_user(request, problem, messages.ERROR)
            else:
                count += 1
        done = ngettext(
            "%(count)d agent restored.", "%(count)d agents restored.", count
        )
        self.message_user(request, done % {"count": count}, messages.SUCCESS)
