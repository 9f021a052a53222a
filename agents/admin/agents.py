"""Agents, their versions and their bindings."""

import json
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from agents.admin.growing import GrowingAdmin
from agents.admin.registry import runner_choices
from agents.bindings import may_tie
from agents.forms import AgentForm, BindingForm
from agents.models import Agent, AgentBinding, AgentVersion, RunnerDescriptor
from agents.registry.config_widgets import SuggestingInput
from agents.services import (
    archive_agent,
    delete_binding,
    mask_config,
    remove_agent,
    restore_version,
    save_agent,
    save_binding,
)
from langbot.core.admin import AuditedAdmin, author_of
from langbot.lib import admin as look

SHOWN_VERSIONS = 20  # on the agent's page; all of them have a list of their own
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
                "resource_policy",
                "state_policy",
                "delivery_policy",
                "approval_policy",
            ]
        },
    )
]


class BindingFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # generic in stubs
    """Bindings of one agent, also checked against each other."""

    def clean(self) -> None:
        super().clean()
        seen: list[AgentBinding] = []
        for form in self.forms:
            binding = form.instance
            if form.errors or not binding.enabled or form in self.deleted_forms:
                continue
            if any(_compete(binding, other) for other in seen):
                message = _("Two of these bindings would match the same events.")
                raise ValidationError(message)
            seen.append(binding)


def _compete(one: AgentBinding, two: AgentBinding) -> bool:
    same = (one.scope, one.scope_ref, one.priority) == (
        two.scope,
        two.scope_ref,
        two.priority,
    )
    return bool(one.scope) and same and may_tie(one, two)


def _suggest_bots(form_field: Any) -> None:
    # By name: `platforms` is a layer above this app.
    bots = apps.get_model("langbot_platforms", "Bot")._default_manager.all()
    field = SuggestingInput([(bot.slug, bot.name) for bot in bots])
    form_field.widget = field
    look.dress([form_field])


class BindingInline(look.TabularInline):  # type: ignore[type-arg]  # one of two bases
    model = AgentBinding
    form = BindingForm
    formset = BindingFormSet
    fields = ["scope", "scope_ref", "event_pattern", "priority", "enabled"]
    extra = 0
    show_change_link = True

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "scope_ref":
            _suggest_bots(field)
        return field


class VersionFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # generic in stubs
    """The latest versions: an agent may have thousands."""

    def get_queryset(self) -> Any:
        latest = self.instance.version - SHOWN_VERSIONS
        return super().get_queryset().filter(number__gt=latest)


class VersionInline(look.RecordInline):
    model = AgentVersion
    formset = VersionFormSet
    fields = ["number", "author", "created_at"]
    readonly_fields = ["number", "author", "created_at"]
    verbose_name_plural = _("latest versions")


@admin.register(Agent)
class AgentAdmin(GrowingAdmin):
    form = AgentForm
    grown_title = _("How is the runner set up?")
    list_display = ["name", "slug", "workspace", "runner", "state", "bound", "version"]
    list_filter = ["enabled", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["name", "slug", "runner_id"]
    autocomplete_fields = ["workspace", "owner"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [BindingInline, VersionInline]
    actions = ["enable", "disable", "archive"]
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
                "fields": ["event_types", "session_scope"],
                "description": _(
                    "Bindings, below, say for which bots and events it is asked."
                ),
            },
        ),
        (
            _("What may it use?"),
            {
                "fields": [
                    "resource_models",
                    "resource_tools",
                    "resource_knowledge_bases",
                    "resource_plugin_storage",
                    "resource_workspace_storage",
                    "resource_artifacts",
                ]
            },
        ),
        (_("What does it remember?"), {"fields": ["state_enabled", "state_scopes"]}),
        (
            _("How does it reply?"),
            {
                "fields": [
                    "delivery_reply",
                    "delivery_streaming",
                    "delivery_maximum",
                    "delivery_ambiguous",
                ]
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
                ],
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(bindings_count=Count("bindings"))

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

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj is not None else []

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        form.base_fields["runner_id"].choices = runner_choices(
            get_language() or "en", keep=obj.runner_id if obj else ""
        )
        return form

    def schema_of(self, choice: str) -> list[dict[str, Any]]:
        runner = RunnerDescriptor.objects.filter(runner_id=choice).first()
        return runner.config_schema if runner is not None else []

    def stored_settings(self, obj: Any) -> dict[str, Any]:
        return mask_config(obj.runner_config)

    @admin.display(description=_("runner"), ordering="runner_id")
    def runner(self, agent: Agent) -> str:
        return agent.runner_id.removeprefix("plugin:")

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, agent: Agent) -> str:
        if agent.archived_at is not None:
            return look.badge(_("archived"))
        if agent.enabled:
            return look.badge(_("enabled"), look.GOOD)
        return look.badge(_("disabled"), look.WARN)

    @admin.display(description=_("bindings"), ordering="bindings_count")
    def bound(self, agent: Any) -> int:
        return int(agent.bindings_count)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        save_agent(obj, author=author_of(request))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove_agent(obj, author=author_of(request))

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


@admin.register(AgentVersion)
class AgentVersionAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["agent", "number", "author", "created_at"]
    list_filter = ["agent"]
    list_select_related = ["agent"]
    search_fields = ["agent__name", "=author"]
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
        names = [
            name
            for name in {**before.data, **version.data}
            if before.data.get(name) != version.data.get(name)
        ]
        return format_html("{}", ", ".join(names) or _("nothing"))

    def get_urls(self) -> Any:
        restore = self.admin_site.admin_view(self.restore_view)
        name = "langbot_agents_agentversion_restore"
        return [path("<int:pk>/restore/", restore, name=name), *super().get_urls()]

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the agent what it was in this version."""
        version = get_object_or_404(AgentVersion, pk=pk)
        here = reverse("admin:langbot_agents_agentversion_change", args=[pk])
        if request.method != "POST" or not request.user.has_perm(
            "langbot_agents.change_agent"
        ):
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


@admin.register(AgentBinding)
class AgentBindingAdmin(AuditedAdmin):
    form = BindingForm
    list_display = ["agent", "place", "event_pattern", "priority", "enabled"]
    list_filter = ["scope", "enabled"]
    list_select_related = ["agent"]
    search_fields = ["agent__name", "scope_ref", "event_pattern"]
    autocomplete_fields = ["agent"]
    fieldsets = [
        (_("Which agent answers?"), {"fields": ["agent", "enabled"]}),
        (
            _("Which events?"),
            {"fields": ["scope", "scope_ref", "event_pattern", "filters", "priority"]},
        ),
        (
            _("With which limits?"),
            {
                "classes": ["collapse"],
                "fields": ["resource_policy", "state_policy", "delivery_policy"],
            },
        ),
    ]

    @admin.display(description=_("scope"), ordering="scope")
    def place(self, binding: AgentBinding) -> str:
        name = binding.get_scope_display()
        return f"{name}: {binding.scope_ref}" if binding.scope_ref else name

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "scope_ref":
            _suggest_bots(field)
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        save_binding(obj, author=author_of(request))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        delete_binding(obj, author=author_of(request))
