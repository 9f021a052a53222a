"""Bindings, on their own pages and on their agent's."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents.admin.asking import AskingAdmin
from agents.admin.growing import PageMedia
from agents.binding_forms import BindingForm, BindingPageForm
from agents.bindings import delete_binding, lock_places, may_tie, save_binding
from agents.choices import BindingScope
from agents.models import AgentBinding
from agents.registry.config_widgets import SuggestingInput
from langbot.core.access import visible_rows
from langbot.core.admin import author_of
from langbot.core.conflicts import OPENED, ConflictAdmin
from langbot.core.models import Workspace
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


def _suggest_bots(request: HttpRequest, form_field: Any) -> None:
    # By name: `platforms` is a layer above this app.
    rows = apps.get_model("langbot_platforms", "Bot")._default_manager.all()
    bots = visible_rows(request.user, rows)
    field = SuggestingInput([(bot.slug, bot.name) for bot in bots])
    name = form_field.widget.attrs.get("aria-label")  # in a table, where no label is
    field.attrs |= {"aria-label": name} if name else {}
    form_field.widget = field
    look.dress([form_field])


def _stay_in_workspace(form_field: Any) -> None:
    """Offer no scope that reaches into every workspace."""
    kept = [one for one in form_field.choices if one[0] != BindingScope.GLOBAL]
    form_field.choices = kept


class BindingFields:
    """What a page of bindings offers for where they hold."""

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        page: Any = super()  # an admin page or a table on one
        field = page.formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "scope_ref":
            _suggest_bots(request, field)
        if db_field.name == "scope" and not request.user.is_superuser:
            _stay_in_workspace(field)
        return field


class BindingInline(BindingFields, look.TabularInline):
    model = AgentBinding
    form = BindingForm
    formset = BindingFormSet
    fields = ["scope", "scope_ref", "event_pattern", "priority", "enabled", OPENED]
    extra = 0
    show_change_link = True


class BotFilter(admin.SimpleListFilter):
    """The bindings of one bot."""

    title = _("bot")
    parameter_name = "bot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        # By name: `platforms` is a layer above this app.
        bots = apps.get_model("langbot_platforms", "Bot")._default_manager
        mine = visible_rows(request.user, bots.order_by("name"))
        return list(mine.values_list("slug", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        chosen = self.value()
        if not chosen:
            return None
        return queryset.filter(scope=BindingScope.BOT, scope_ref=chosen)


@admin.register(AgentBinding)
class AgentBindingAdmin(BindingFields, AskingAdmin, ConflictAdmin):
    Media = PageMedia
    form = BindingPageForm
    list_display = ["agent", "place", "event_pattern", "priority", "enabled"]
    list_filter = ["scope", "enabled", "agent__workspace", BotFilter]
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
            _("What may it not use here?"),
            {
                "classes": ["collapse"],
                "description": _("A binding takes away; it never grants more."),
                "fields": [
                    *BindingPageForm.LIMITS["resource_policy"],
                    *BindingPageForm.LIMITS["state_policy"],
                ],
            },
        ),
        (
            _("How does it reply here?"),
            {
                "classes": ["collapse"],
                "fields": BindingPageForm.LIMITS["delivery_policy"],
            },
        ),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        # To someone who may only look, the stored documents.
        limits = ["resource_policy", "state_policy", "delivery_policy"]
        return [*self.fieldsets[:2], (_("With which limits?"), {"fields": limits})]

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        form.places = visible_rows(request.user, Workspace.objects.all())
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        everywhere = obj is not None and obj.scope == BindingScope.GLOBAL
        may = request.user.is_superuser or not everywhere
        return may and super().has_change_permission(request, obj)

    @admin.display(description=_("scope"), ordering="scope")
    def place(self, binding: AgentBinding) -> str:
        name = binding.get_scope_display()
        return f"{name}: {binding.scope_ref}" if binding.scope_ref else name

    def lock_for_change(self, request: HttpRequest, pk: Any) -> None:
        owner = AgentBinding.objects.filter(pk=pk)
        lock_places(*owner.values_list("agent__workspace", flat=True))
        super().lock_for_change(request, pk)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        save_binding(obj, author=author_of(request))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        delete_binding(obj, author=author_of(request))
