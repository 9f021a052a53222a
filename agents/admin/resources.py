"""Model providers and models; keys go in and never come out."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents.models import Model, ModelProvider
from langbot.core.admin import AuditedAdmin
from langbot.lib import admin as look
from langbot.lib.forms import SecretField
from langbot.lib.redaction import REDACTED


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """A provider whose key is written, never read."""

    api_key = SecretField(label=_("API key"), stored=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "api_key" not in self.fields:
            return
        field = SecretField(label=_("API key"), stored=bool(self.instance.api_key))
        self.fields["api_key"] = field
        self.initial.pop("api_key", None)
        look.dress([field])

    def clean_api_key(self) -> str:
        key = self.cleaned_data.get("api_key") or ""
        return self.instance.api_key if key == REDACTED else key


class ModelInline(look.TabularInline):  # type: ignore[type-arg]  # one of two bases
    model = Model
    fields = ["name", "kind", "context_window_tokens", "enabled"]
    extra = 0
    show_change_link = True


@admin.register(ModelProvider)
class ModelProviderAdmin(AuditedAdmin):
    form = ProviderForm
    list_display = ["name", "workspace", "kind", "base_url", "has_key", "enabled"]
    list_filter = ["kind", "enabled", "workspace"]
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
class ModelAdmin(AuditedAdmin):
    list_display = ["name", "provider", "kind", "context_window_tokens", "enabled"]
    list_filter = ["kind", "enabled"]
    list_select_related = ["provider"]
    search_fields = ["name", "provider__name"]
    autocomplete_fields = ["provider"]
    fieldsets = [
        (_("Which model?"), {"fields": ["provider", "name", "kind", "enabled"]}),
        (
            _("How is it called?"),
            {"fields": ["context_window_tokens", "extra_args"]},
        ),
    ]
