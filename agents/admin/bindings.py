"""Bindings, on their own pages and on their agent's."""

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents.bindings import delete_binding, may_tie, save_binding
from agents.forms import BindingForm
from agents.models import AgentBinding
from agents.registry.config_widgets import SuggestingInput
from langbot.core.admin import AuditedAdmin, author_of
from langbot.lib import admin as look


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
