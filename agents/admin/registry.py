"""Runners, and the tokens and connections of the plugins that bring them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.http import HttpRequest
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from agents.choices import ConnectionStatus
from agents.models import PluginConnection, PluginToken, RunnerDescriptor
from agents.registry.config_items import localized
from agents.registry.tokens import create_plugin_token
from langbot.core.access import visible_rows
from langbot.core.admin import AuditedAdmin, TokenAdmin, author_of
from langbot.core.audit import record_act
from langbot.lib import admin as look
from langbot.lib.forms import LinesField


def online_runner_ids() -> set[str]:
    """Return the ids of runners that some connection serves now."""
    connections = PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
    lists = connections.order_by().values_list("runners", flat=True)
    return {runner for runners in lists for runner in runners}


class RunnerState(TextChoices):
    """Whether a runner can carry runs now."""

    ONLINE = "online", _("online")
    OFFLINE = "offline", _("offline")
    OFF = "off", _("switched off")
    REFUSED = "refused", _("refused")
    UNKNOWN = "unknown", _("never connected")


def with_runner(agents: QuerySet[Any]) -> QuerySet[Any]:
    """Add `runner_label` (translations) and `runner_state` to agents."""
    runner = RunnerDescriptor.objects.filter(runner_id=OuterRef("runner_id"))
    state = Case(
        When(Exists(runner.exclude(last_error="")), then=Value(RunnerState.REFUSED)),
        When(Exists(runner.filter(enabled=False)), then=Value(RunnerState.OFF)),
        When(~Exists(runner), then=Value(RunnerState.UNKNOWN)),
        When(runner_id__in=online_runner_ids(), then=Value(RunnerState.ONLINE)),
        default=Value(RunnerState.OFFLINE),
        output_field=CharField(),
    )
    label = Subquery(runner.values("label")[:1])
    annotated: QuerySet[Any] = agents.annotate(runner_label=label, runner_state=state)
    return annotated


def runner_choices(
    user: Any, language: str, *, keep: str = ""
) -> list[tuple[str, Any]]:
    """Return the runners that a person may choose, with their labels and states.

    `keep` is offered in any case.
    """
    online = online_runner_ids()
    choices: list[tuple[str, Any]] = []
    rows = RunnerDescriptor.objects.select_related("workspace")
    for runner in visible_rows(user, rows, shared=True):
        if not runner.enabled and runner.runner_id != keep:
            continue
        label = localized(runner.label, language) or runner.runner_id
        state = _("online") if runner.runner_id in online else _("offline")
        if runner.last_error:
            state = _("refused")
        place = f" · {runner.workspace}" if runner.workspace else ""
        name = runner.runner_id.removeprefix("plugin:")
        choices.append((runner.runner_id, f"{label} ({name}){place} — {state}"))
    if keep and keep not in {runner_id for runner_id, _label in choices}:
        choices.append((keep, f"{keep} — {_('never connected')}"))
    return [("", _("Choose a runner")), *choices]


@admin.register(RunnerDescriptor)
class RunnerDescriptorAdmin(AuditedAdmin):
    shares_rows = True  # those that ship serve every workspace
    list_display = [
        "title",
        "plugin",
        "version",
        "online",
        "enabled",
        "able",
        "last_error",
    ]
    list_filter = ["enabled"]
    search_fields = ["runner_id", "plugin"]
    actions = ["enable", "disable"]
    fieldsets = [
        (
            _("Which runner is it?"),
            {
                "fields": [
                    "title",
                    "runner_id",
                    "plugin",
                    "version",
                    "workspace",
                    "about",
                ]
            },
        ),
        (
            _("Can it be used?"),
            {"fields": ["enabled", "online", "last_seen_at", "last_error"]},
        ),
        (
            _("What can it do?"),
            {"fields": ["able", "permissions", "usages", "event_patterns"]},
        ),
        (
            _("What did the plugin send?"),
            {"classes": ["collapse"], "fields": ["kind", "config_schema", "manifest"]},
        ),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = [
            name for _title, options in self.fieldsets for name in options["fields"]
        ]
        return [name for name in names if name != "enabled"]

    def get_queryset(self, request: HttpRequest) -> Any:
        online = Q(runner_id__in=online_runner_ids())
        return (
            super()
            .get_queryset(request)
            .select_related("workspace")
            .annotate(
                is_online=Case(
                    When(online, then=Value(value=True)),
                    default=Value(value=False),
                    output_field=BooleanField(),
                )
            )
        )

    @admin.display(description=_("runner"), ordering="runner_id")
    def title(self, runner: RunnerDescriptor) -> str:
        return localized(runner.label, get_language() or "en") or runner.runner_id

    @admin.display(description=_("description"))
    def about(self, runner: RunnerDescriptor) -> str:
        return localized(runner.description, get_language() or "en")

    @admin.display(description=_("connection"), ordering="is_online")
    def online(self, runner: Any) -> str:
        if runner.last_error:
            return look.badge(_("refused"), look.BAD)
        if runner.is_online:
            return look.badge(_("online"), look.GOOD)
        return look.badge(_("offline"), look.WARN)

    @admin.display(description=_("capabilities"))
    def able(self, runner: RunnerDescriptor) -> str:
        names = [name for name, able in runner.capabilities.items() if able]
        return ", ".join(name.replace("_", " ") for name in names) or "—"

    @admin.action(description=_("Enable selected runners"), permissions=["change"])
    def enable(
        self, request: HttpRequest, queryset: QuerySet[RunnerDescriptor]
    ) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description=_("Disable selected runners"), permissions=["change"])
    def disable(
        self, request: HttpRequest, queryset: QuerySet[RunnerDescriptor]
    ) -> None:
        self._switch(request, queryset, on=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[RunnerDescriptor], *, on: bool
    ) -> None:
        runners = list(queryset.exclude(enabled=on))
        for runner in runners:
            with transaction.atomic():
                RunnerDescriptor.objects.filter(pk=runner.pk).update(enabled=on)
                record_act(
                    author_of(request),
                    "enabled" if on else "disabled",
                    runner,
                    before={"enabled": not on},
                    after={"enabled": on},
                )
        done = ngettext(
            "%(count)d runner changed.", "%(count)d runners changed.", len(runners)
        )
        self.message_user(request, done % {"count": len(runners)}, messages.SUCCESS)


class PluginTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    plugins = LinesField(
        label=_("plugins"),
        required=False,
        help_text=_(
            "Names (author/name) it may register, one per line; * admits any, "
            "an empty list admits the first that registers."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "plugins" in self.fields:
            look.dress([self.fields["plugins"]])


@admin.register(PluginToken)
class PluginTokenAdmin(TokenAdmin):
    form = PluginTokenForm
    list_display = [*TokenAdmin.list_display, "admits"]
    autocomplete_fields = ["workspace"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ["prefix", "created_at", "last_used_at", "revoked_at"] if obj else []
        return ["label", "workspace", "plugins", *shown]

    @admin.display(description=_("plugins"))
    def admits(self, token: PluginToken) -> Any:
        return ", ".join(token.plugins) or _("the first that registers")

    def make_token(self, row: PluginToken) -> tuple[PluginToken, str]:
        return create_plugin_token(
            row.label, workspace=row.workspace, plugins=row.plugins
        )


@admin.register(PluginConnection)
class PluginConnectionAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = [
        "plugin",
        "version",
        "state",
        "workspace",
        "connected_at",
        "disconnected_at",
        "reason",
    ]
    list_filter = ["status"]
    list_select_related = ["workspace"]
    search_fields = ["plugin"]

    @admin.display(description=_("status"), ordering="status")
    def state(self, connection: PluginConnection) -> str:
        tones = {
            ConnectionStatus.ONLINE: look.GOOD,
            ConnectionStatus.REFUSED: look.BAD,
        }
        tone = tones.get(ConnectionStatus(connection.status), look.CALM)
        return look.badge(connection.get_status_display(), tone)
