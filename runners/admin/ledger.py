"""What else the ledger keeps: waiting messages, state, host calls."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.core.permissions import RAW_PAYLOAD
from langbot.lib import admin as look
from runners.admin.acts import Acts
from runners.admin.display import TimedList, document, link_to
from runners.admin.filters import StatusFilter
from runners.admin.search import IdSearch, calls_named, queued_named
from runners.choices import QueuedStatus
from runners.models import (
    HostCall,
    HostCallRefusal,
    QueuedMessage,
    RunnerState,
)
from runners.pending import cancel_message

_TONES: dict[str, str] = {
    QueuedStatus.QUEUED: look.BUSY,
    QueuedStatus.PROMOTED: look.GOOD,
    QueuedStatus.INJECTED: look.GOOD,
    QueuedStatus.REFUSED: look.BAD,
}


@admin.register(QueuedMessage)
class QueuedMessageAdmin(Acts, IdSearch, look.RecordAdmin, TimedList):
    Media = look.RecordMedia
    list_display = ["at", "state", "said", "position", "agent", "conversation", "run"]
    list_filter = [StatusFilter]
    list_select_related = ["event", "agent", "conversation", "run"]
    search_fields = ["public_id"]
    search_help_text = _("The whole id of a message, event or conversation.")
    ordering = ["-pk"]
    actions = ["cancel"]
    buttons = {"cancel": _("Take this message back")}
    dangerous = frozenset({"cancel"})
    change_form_template = "admin/langbot_runners/record.html"
    readonly_fields = ["state", "said", "position", "run_link"]
    fieldsets = [
        (
            _("What waits?"),
            {"fields": ["said", "state", "position", "mode", "dry_run"]},
        ),
        (
            _("Where does it come from?"),
            {"fields": ["conversation", "event", "agent", "binding"]},
        ),
        (
            _("What became of it?"),
            {"fields": ["run_link", "reason", "public_id", "created_at", "ended_at"]},
        ),
    ]

    def matches(self, text: str) -> Q:
        return queued_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        related = ("event", "agent", "conversation", "run")
        large = ("event__input", "event__data", "event__delivery", "event__metadata")
        rows = super().get_queryset(request).select_related(*related)
        return rows.defer(*large, "run__snapshot", "agent__runner_config").annotate(
            ahead=Coalesce(Subquery(_ahead()), 0)
        )

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        message = context.get("original")
        if message is not None:
            context["offers"] = self.offered(request, message)
            context["title"] = _("Waiting message")
        return super().render_change_form(request, context, *args, **kwargs)

    def offers(self, row: QueuedMessage) -> Iterable[str]:
        if row.status == QueuedStatus.QUEUED:
            yield "cancel"

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the person may take waiting messages back."""
        return request.user.has_perm("langbot_runners.delete_queuedmessage")

    @admin.action(description=_("Take selected messages back"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[QueuedMessage]) -> None:
        author = author_of(request)

        def take_back(message: QueuedMessage) -> bool:
            done = cancel_message(message)
            if done:
                record_act(author, "cancelled", message)
            return done

        self.carry_out(request, queryset, take_back)

    @admin.display(description=_("status"), ordering="status")
    def state(self, message: QueuedMessage) -> str:
        tone = _TONES.get(message.status, look.CALM)
        return look.badge(message.get_status_display(), tone)

    @admin.display(description=_("input"))
    def said(self, message: QueuedMessage) -> str:
        return message.event.input_summary[:80]

    @admin.display(description=_("position"))
    def position(self, message: Any) -> Any:
        is_waiting = message.status == QueuedStatus.QUEUED
        return message.ahead + 1 if is_waiting else "—"

    @admin.display(description=_("run"))
    def run_link(self, message: QueuedMessage) -> str:
        return link_to(message.run)


def _ahead() -> QuerySet[Any, Any]:
    """Count the messages of the same conversation that are answered before a row."""
    ahead = QueuedMessage.objects.filter(
        conversation=OuterRef("conversation"),
        status=QueuedStatus.QUEUED,
        pk__lt=OuterRef("pk"),
    )
    grouped = ahead.order_by().values("conversation").annotate(number=Count("pk"))
    return grouped.values("number")


@admin.register(RunnerState)
class RunnerStateAdmin(look.RecordAdmin):
    Media = look.RecordMedia
    list_display = ["key", "scope", "runner_id", "workspace", "version", "updated_at"]
    list_filter = ["scope", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["scope_key"]
    search_help_text = _("A whole scope key.")
    ordering = ["-pk"]
    readonly_fields = ["content"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = ["workspace", "runner_id", "scope", "scope_key", "key", "version"]
        shown = ["content"] if request.user.has_perm(RAW_PAYLOAD) else []
        return [*names, *shown, "expires_at", "updated_at"]

    @admin.display(description=_("value"))
    def content(self, state: RunnerState) -> str:
        return document(state.value)


@admin.register(HostCall)
class HostCallAdmin(IdSearch, look.RecordAdmin, TimedList):
    Media = look.RecordMedia
    list_display = ["at", "action", "status", "run", "answered_at"]
    search_fields = ["run__public_id"]
    search_help_text = _("The whole id of a run.")
    ordering = ["-pk"]
    readonly_fields = ["reply"]

    def matches(self, text: str) -> Q:
        return calls_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super().get_queryset(request).select_related("run").defer("run__snapshot")
        )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = ["run", "invocation", "plugin_seq_id", "action", "status"]
        shown = ["reply"] if request.user.has_perm(RAW_PAYLOAD) else []
        return [*names, *shown, "created_at", "answered_at"]

    @admin.display(description=_("answer"))
    def reply(self, call: HostCall) -> str:
        return document(call.answer)


@admin.register(HostCallRefusal)
class HostCallRefusalAdmin(IdSearch, look.RecordAdmin):
    Media = look.RecordMedia
    list_display = ["last_at", "action", "code", "count", "caller", "run", "first_at"]
    list_filter = ["code"]
    list_select_related = ["run"]
    search_fields = ["run__public_id"]
    search_help_text = _("The whole id of a run.")
    ordering = ["-pk"]
    readonly_fields = ["caller"]
    fields = ["run", "action", "code", "count", "caller", "first_at", "last_at"]

    def matches(self, text: str) -> Q:
        return calls_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super().get_queryset(request).select_related("run").defer("run__snapshot")
        )

    @admin.display(description=_("last called by"))
    def caller(self, refusal: HostCallRefusal) -> str:
        return refusal.plugin or str(_("a plugin of another workspace"))
