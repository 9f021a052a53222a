"""Runners, and the tokens and connections of the plugins that bring them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
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

from agents.admin.plugin_words import (
    USAGES,
    capabilities_of,
    permissions_of,
    reason_words,
)
from agents.admin.risks import RiskAdmin
from agents.admin.rotating import RotatingAdmin
from agents.choices import ConnectionStatus
from agents.models import PluginConnection, PluginToken, RunnerDescriptor
from agents.registry.config_items import localized
from agents.registry.connections import online_runner_ids
from agents.registry.harness import is_unacknowledged
from agents.registry.models import UNUSABLE
from agents.registry.switches import switch_runner
from agents.registry.tokens import create_plugin_token
from langbot.core.access import visible_rows
from langbot.core.admin import TokenAdmin, author_of
from langbot.lib import admin as look
from langbot.lib.forms import LinesField


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
        When(Exists(runner.filter(UNUSABLE)), then=Value(RunnerState.OFF)),
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
        if not runner.is_usable and runner.runner_id != keep:
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


def first_runner(request: Any) -> str:
    """Return the first runner that a new agent could use now, "" for none.

    Asked once per request: a form and its parts all want to know.
    """
    known: str | None = getattr(request, "_langbot_first_runner", None)
    if known is None:
        rows = visible_rows(request.user, RunnerDescriptor.objects.all(), shared=True)
        there = rows.filter(runner_id__in=online_runner_ids(), last_error="")
        usable = (runner.runner_id for runner in there if runner.is_usable)
        known = request._langbot_first_runner = next(usable, "")
    return known


@admin.register(RunnerDescriptor)
class RunnerDescriptorAdmin(RiskAdmin):
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
    list_filter = ["enabled", "risk"]
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
            {
                "fields": [
                    *("enabled", "online", "risk", "acknowledged"),
                    *("last_seen_at", "last_error"),
                ]
            },
        ),
        (
            _("What can it do?"),
            {"fields": ["able", "asks", "used_for", "answers_to"]},
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
        is_locked = obj is not None and is_unacknowledged(obj)
        return [name for name in names if name != "enabled" or is_locked]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        # Nothing else can be changed here, and the plugin may write the row meanwhile.
        if "enabled" in form.changed_data:
            switch_runner(obj, on=obj.enabled, author=author_of(request))

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

    @admin.display(description=_("name"), ordering="runner_id")
    def title(self, runner: RunnerDescriptor) -> str:
        return localized(runner.label, get_language() or "en") or runner.runner_id

    @admin.display(description=_("description"))
    def about(self, runner: RunnerDescriptor) -> str:
        return localized(runner.description, get_language() or "en")

    @admin.display(description=_("connection"), ordering="is_online")
    def online(self, runner: Any) -> str:
        if runner.last_error:
            return look.badge(_("refused"), look.BAD)
        if runner.archived_at is not None:
            return look.badge(_("removed"))
        if runner.is_online:
            return look.badge(_("online"), look.GOOD)
        return look.badge(_("offline"), look.WARN)

    @admin.display(description=_("capabilities"))
    def able(self, runner: RunnerDescriptor) -> str:
        return capabilities_of(runner)

    @admin.display(description=_("permissions"))
    def asks(self, runner: RunnerDescriptor) -> str:
        return permissions_of(runner)

    @admin.display(description=_("can be chosen for"))
    def used_for(self, runner: RunnerDescriptor) -> str:
        return ", ".join(str(USAGES.get(one, one)) for one in runner.usages) or "—"

    @admin.display(description=_("events it takes"))
    def answers_to(self, runner: RunnerDescriptor) -> str:
        return ", ".join(runner.event_patterns) or str(_("all that lead to its agent"))

    @admin.display(description=_("risk acknowledged"))
    def acknowledged(self, runner: RunnerDescriptor) -> str:
        if runner.acknowledged_at is None:
            return "—"
        return f"{runner.acknowledged_by}, {runner.acknowledged_at:%Y-%m-%d %H:%M}"

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
        changed = 0
        for runner in queryset:
            try:
                changed += switch_runner(runner, on=on, author=author_of(request))
            except ValidationError as error:
                self.message_user(request, " ".join(error.messages), messages.ERROR)
        done = ngettext(
            "%(count)d runner changed.", "%(count)d runners changed.", changed
        )
        self.message_user(request, done % {"count": changed}, messages.SUCCESS)


class PluginTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    plugins = LinesField(
        label=_("Plugins"),
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
class PluginTokenAdmin(RotatingAdmin):
    form = PluginTokenForm
    list_display = [*TokenAdmin.list_display, "admits"]
    autocomplete_fields = ["workspace"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ["prefix", "created_at", "last_used_at", "expires_at", "revoked_at"]
        shown = shown if obj else []
        return ["label", "workspace", "plugins", "control_plane", *shown]

    @admin.display(description=_("plugins"))
    def admits(self, token: PluginToken) -> Any:
        return ", ".join(token.plugins) or _("the first that registers")

    def make_token(self, row: PluginToken) -> tuple[PluginToken, str]:
        return create_plugin_token(
            row.label,
            workspace=row.workspace,
            plugins=row.plugins,
            control_plane=row.control_plane,
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
        "why",
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

    @admin.display(description=_("reason"))
    def why(self, connection: PluginConnection) -> str:
        return reason_words(connection.reason)
