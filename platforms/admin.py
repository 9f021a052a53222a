"""Bots; the settings of their platform grow from its adapter's schema."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext

from agents.admin.growing import GrowingAdmin
from agents.forms import GrowingForm
from agents.registry.config_schema import validate_config
from langbot.core.admin import author_of
from langbot.core.retiring import RetiringAdmin, Use
from langbot.lib import admin as look
from langbot.lib.redaction import REDACTED
from platforms.adapters import registry
from platforms.models import Bot
from platforms.services import (
    bindings_of,
    is_used,
    remove_bot,
    save_bot,
    schema_of,
    settings_of,
    unarchive_bot,
)


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
        same = self.initial.get("adapter") == bot.adapter
        stored = bot.secrets if same and isinstance(bot.secrets, dict) else {}
        given = {
            name: stored.get(name) if value == REDACTED else value
            for name, value in self.settings().items()
        }
        try:
            validate_config(schema, given)
        except ValidationError as error:
            self.add_setting_errors(error.message_dict)


@admin.register(Bot)
class BotAdmin(RetiringAdmin, GrowingAdmin):
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
    actions = ["enable", "disable", "unarchive", "delete_selected"]
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
        return settings_of(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        # The form has checked what `save_bot` would refuse.
        save_bot(obj, author=author_of(request), settings=form.settings())

    def uses_of(self, row: Bot) -> list[Use]:
        page = "admin:langbot_agents_agentbinding_change"
        uses = [
            Use(str(binding), reverse(page, args=[binding.pk]), blocks=True)
            for binding in bindings_of(row)
        ]
        if is_used(row):
            uses.append(Use(_("its events, runs and deliveries")))
        return uses

    def remove(self, row: Bot, author: str) -> bool:
        return remove_bot(row, author=author)

    def retired_message(self, count: int) -> str:
        done = ngettext(
            "%(count)d bot has a history: it is archived, its history stays.",
            "%(count)d bots have a history: they are archived, their history stays.",
            count,
        )
        return done % {"count": count}

    @admin.display(description=_("platform"), ordering="adapter")
    def platform(self, bot: Bot) -> Any:
        return dict(registry.choices()).get(bot.adapter, bot.adapter)

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, bot: Bot) -> str:
        if bot.archived_at is not None:
            return look.badge(pgettext("status", "archived"))
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
        count = 0
        for bot in queryset.filter(archived_at=None).exclude(enabled=on):
            bot.enabled = on
            try:
                save_bot(bot, author=author_of(request))
            except ValidationError as error:
                problem = f"{bot}: {' '.join(error.messages)}"
                self.message_user(request, problem, messages.ERROR)
            else:
                count += 1
        done = ngettext("%(count)d bot changed.", "%(count)d bots changed.", count)
        self.message_user(request, done % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Restore archived bots"), permissions=["change"])
    def unarchive(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        bots = list(queryset.exclude(archived_at=None))
        for bot in bots:
            unarchive_bot(bot, author=author_of(request))
        done = ngettext(
            "%(count)d bot restored; it is disabled.",
            "%(count)d bots restored; they are disabled.",
            len(bots),
        )
        self.message_user(request, done % {"count": len(bots)}, messages.SUCCESS)
