"""Model providers and models; keys go in and never come out."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.admin.growing import PageMedia
from agents.admin.states import StateColumn, StateFilter
from agents.admin.usage import PriceInline
from agents.models import Model, ModelProvider
from agents.resources.defaults import fill_first_selector
from agents.resources.removing import (
    agents_with,
    remove_model,
    remove_provider,
    restore_archived,
)
from langbot.core.admin import author_of
from langbot.core.conflicts import OPENED, ConflictAdmin, ConflictForm
from langbot.core.retiring import RetiringAdmin, Use
from langbot.lib import admin as look
from langbot.lib.forms import SecretField
from langbot.lib.http import refused_at_sight
from langbot.lib.redaction import REDACTED


class ProviderForm(ConflictForm):
    """A provider whose key is written, never read."""

    api_key = SecretField(label=_("API key"), stored=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "api_key" not in self.fields:
            return
        field = SecretField(
            label=_("API key"),
            stored=bool(self.instance.api_key),
            disabled=self.fields["api_key"].disabled,
        )
        self.fields["api_key"] = field
        self.initial.pop("api_key", None)
        look.dress([field])

    def clean_api_key(self) -> str:
        key = self.cleaned_data.get("api_key") or ""
        kept = key == REDACTED or self.fields["api_key"].disabled
        return self.instance.api_key if kept else key


class ModelForm(ConflictForm):
    """A model."""


def _say_used(model_admin: Any, request: HttpRequest, model: Model) -> None:
    """Let the first model of a workspace be used at once, and say so (LB-50)."""
    agent = fill_first_selector(model, author=author_of(request))
    if agent is not None:
        text = _("The agent %(agent)s had no model: it uses %(model)s now.")
        named = {"agent": agent, "model": model}
        model_admin.message_user(request, text % named, messages.SUCCESS)


def _uses_of(*models: Model) -> list[Use]:
    return [
        Use(
            _("Agent %(agent)s") % {"agent": agent},
            reverse("admin:langbot_agents_agent_change", args=[agent.pk]),
        )
        for agent in agents_with(models)
    ]


class _ArchivableAdmin(StateColumn, RetiringAdmin, ConflictAdmin):
    """Archives what agents name, and brings it back."""

    actions = ["restore", "delete_selected"]

    def retired_message(self, count: int) -> str:
        done = ngettext(
            "%(count)d is in use by agents: it is archived, not deleted.",
            "%(count)d are in use by agents: they are archived, not deleted.",
            count,
        )
        return done % {"count": count}

    @admin.action(description=_("Restore what is archived"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        author = author_of(request)
        rows = queryset.exclude(archived_at=None)
        count = sum(restore_archived(row, author=author) for row in rows)
        done = ngettext("%(count)d restored.", "%(count)d restored.", count)
        self.message_user(request, done % {"count": count}, messages.SUCCESS)


class ModelInline(look.TabularInline):
    model = Model
    form = ModelForm
    fields = ["name", "kind", "context_window_tokens", "enabled", OPENED]
    extra = 0
    can_delete = False  # on its own page, which says who uses it
    show_change_link = True


@admin.register(ModelProvider)
class ModelProviderAdmin(_ArchivableAdmin):
    Media = PageMedia
    form = ProviderForm
    list_display = ["name", "workspace", "kind", "base_url", "has_key", "state"]
    list_filter = ["kind", StateFilter, "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["name", "base_url"]
    autocomplete_fields = ["workspace"]
    inlines = [ModelInline]
    fieldsets = [
        (_("Which provider?"), {"fields": ["name", "workspace", "kind", "enabled"]}),
        (
            _("How is it called?"),
            {"fields": ["base_url", "api_key", "timeout_seconds"]},
        ),
    ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        super().save_model(request, obj, form, change)
        if problem := refused_at_sight(obj.base_url):
            text = _(
                "Calls to it will be refused: %(problem)s. If it is meant to be there, "
                "add its host to LANGBOT_OUTBOUND_ALLOW and restart."
            )
            self.message_user(request, text % {"problem": problem}, messages.WARNING)

    def uses_of(self, row: ModelProvider) -> list[Use]:
        return _uses_of(*row.models.all())

    def remove(self, row: ModelProvider, author: str) -> bool:
        return remove_provider(row, author=author)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: Any
    ) -> None:
        super().save_formset(request, form, formset, change)
        for model in formset.new_objects:
            _say_used(self, request, model)

    @admin.display(description=_("API key"), boolean=True)
    def has_key(self, provider: ModelProvider) -> bool:
        return bool(provider.api_key)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Someone who may only look is shown that there is a key, not the key.
        return ["has_key"] if self._only_looks(request, obj) else []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not self._only_looks(request, obj):
            return self.fieldsets
        fields = ["base_url", "has_key", "timeout_seconds"]
        return [self.fieldsets[0], (self.fieldsets[1][0], {"fields": fields})]

    def _only_looks(self, request: HttpRequest, obj: Any) -> bool:
        return obj is not None and not self.has_change_permission(request, obj)


@admin.register(Model)
class ModelAdmin(_ArchivableAdmin):
    Media = PageMedia
    form = ModelForm
    list_display = ["name", "provider", "kind", "context_window_tokens", "state"]
    list_filter = ["kind", StateFilter]
    list_select_related = ["provider"]
    search_fields = ["name", "provider__name"]
    autocomplete_fields = ["provider"]
    inlines = [PriceInline]
    fieldsets = [
        (_("Which model?"), {"fields": ["provider", "name", "kind", "enabled"]}),
        (
            _("How is it called?"),
            {"fields": ["context_window_tokens", "extra_args"]},
        ),
    ]

    def uses_of(self, row: Model) -> list[Use]:
        return _uses_of(row)

    def remove(self, row: Model, author: str) -> bool:
        return remove_model(row, author=author)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        super().save_model(request, obj, form, change)
        if not change:
            _say_used(self, request, obj)
