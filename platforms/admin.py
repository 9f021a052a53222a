"""Bots; the settings of their platform grow from its adapter's schema."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.admin.growing import GrowingAdmin
from agents.config_secrets import keep_masked
from agents.forms import GrowingForm
from agents.registry.config_schema import read_schema, validate_config
from langbot.core.admin import author_of
from langbot.core.audit import record_act
from langbot.lib import admin as look
from langbot.lib.redaction import REDACTED
from platforms.adapters import registry
from platforms.models import Bot


def schema_of(kind: str) -> list[dict[str, Any]]:
    """Return an adapter's config schema; a platform nobody brings has none."""
    try:
        return registry.get(kind).config_schema
    except registry.UnknownAdapterError:
        return []


class BotForm(GrowingForm):
    """A bot; its secrets are written, never read."""

    grows_from = "adapter"

    adapter = forms.ChoiceField(label=_("Platform"))

    class Meta:
        model = Bot
        fields = ["name", "slug", "workspace", "enabled", "adapter"]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook, absent in stubs
        if self.is_stale or "adapter" in self.errors:
            return
        bot: Bot = self.instance
        schema = schema_of(bot.adapter)
        if not schema:
            return  # nothing was shown, so nothing is replaced
        names = {item.name for item in read_schema(schema) if item.is_secret}
        same = self.initial.get("adapter") == bot.adapter
        stored = bot.secrets if same and isinstance(bot.secrets, dict) else {}
        given = self.settings()
        for name in names:
            if given.get(name) == REDACTED:
                given[name] = stored.get(name)
        try:
            config = validate_config(schema, keep_masked(given, {}))
        except ValidationError as error:
            self.add_setting_errors(error.message_dict)
            return
        bot.secrets = {name: config.pop(name) for name in names if name in config}
        bot.config = config


@admin.register(Bot)
class BotAdmin(GrowingAdmin):
    form = BotForm
    grown_title = _("How is the platform set up?")
    list_display = [
        "name",
        "slug",
        "workspace",
        "platform",
        "state",
        "last_event_at",
        "last_error",
    ]
    list_filter = ["enabled", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["name", "slug"]
    autocomplete_fields = ["workspace"]
    prepopulated_fields = {"slug": ["name"]}
    actions = ["enable", "disable"]
    fieldsets = [
        (_("Which bot is it?"), {"fields": ["name", "slug", "workspace", "enabled"]}),
        (_("Where does it talk?"), {"fields": ["adapter"]}),
    ]

    def get_form(
        self, request: HttpRequest, obj: Any = None, *change: Any, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, *change, **kwargs)
        choices: list[tuple[str, Any]] = list(registry.choices())
        if obj is not None and obj.adapter not in dict(choices):
            choices.append((obj.adapter, obj.adapter))
        if "adapter" in form.base_fields:
            form.base_fields["adapter"].choices = [
                ("", _("Choose a platform")),
                *choices,
            ]
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        return self.fieldsets  # to someone who may only look, no settings

    def schema_of(self, choice: str) -> list[dict[str, Any]]:
        return schema_of(choice)

    def stored_settings(self, obj: Any) -> dict[str, Any]:
        secrets = obj.secrets if isinstance(obj.secrets, dict) else {}
        masks = {name: REDACTED for name, value in secrets.items() if value}
        return {**obj.config, **masks}

    @admin.display(description=_("platform"), ordering="adapter")
    def platform(self, bot: Bot) -> Any:
        return dict(registry.choices()).get(bot.adapter, bot.adapter)

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, bot: Bot) -> str:
        if bot.enabled:
            return look.badge(_("enabled"), look.GOOD)
        return look.badge(_("disabled"), look.WARN)

    @admin.action(description=_("Enable selected bots"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description=_("Disable selected bots"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        self._switch(request, queryset, on=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[Bot], *, on: bool
    ) -> None:
        bots = list(queryset.exclude(enabled=on))
        Bot.objects.filter(pk__in=[bot.pk for bot in bots]).update(enabled=on)
        for bot in bots:
            record_act(author_of(request), "enabled" if on else "disabled", bot)
        done = ngettext("%(count)d bot changed.", "%(count)d bots changed.", len(bots))
        self.message_user(request, done % {"count": len(bots)}, messages.SUCCESS)
