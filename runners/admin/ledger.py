"""Events, conversations and what waits or leaves: records, read-only."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from langbot.lib import admin as look
from langbot.lib.conf import limits
from runners.admin.runs import RunTable, TimedList, document
from runners.choices import EventOutcome
from runners.models import (
    AgentRun,
    Conversation,
    EventLog,
    HostCall,
    QueuedMessage,
    RunnerState,
    TranscriptItem,
    WorkerNode,
)

TRANSCRIPT_PAGE = 100


class RunInline(look.RecordInline, RunTable):
    """The runs of an event, as links."""

    model = AgentRun
    fk_name = "event"
    fields = ["state", "agent", "attempt", "at"]
    readonly_fields = ["state", "at"]


@admin.register(EventLog)
class EventLogAdmin(look.RecordAdmin, TimedList):
    Media = look.Media
    list_display = ["at", "type", "source", "input_summary", "result"]
    list_filter = ["outcome"]
    search_fields = ["type", "event_id", "public_id"]
    search_help_text = _("A whole event type, event id or id.")
    inlines = [RunInline]
    readonly_fields = ["full_input", "full_data"]
    fieldsets = [
        (
            _("What happened?"),
            {
                "fields": [
                    "type",
                    "time",
                    "source",
                    "event_id",
                    "input_summary",
                    "actor",
                    "subject",
                ]
            },
        ),
        (
            _("Where?"),
            {"fields": ["workspace", "bot_id", "conversation", "thread"]},
        ),
        (_("What became of it?"), {"fields": ["outcome", "outcome_reason"]}),
        (
            _("What came in?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "full_input",
                    "full_data",
                    "delivery",
                    "metadata",
                    "raw_ref",
                    "trigger_source",
                    "source_event_type",
                    "public_id",
                    "created_at",
                ],
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        # The list shows the summary; whole inputs may hold megabytes.
        events = super().get_queryset(request)
        match = request.resolver_match
        if (
            match is not None
            and match.url_name == "langbot_runners_eventlog_changelist"
        ):
            return events.defer("input", "data", "delivery", "metadata")
        return events

    @admin.display(description=_("outcome"), ordering="outcome")
    def result(self, event: EventLog) -> str:
        tones: dict[str, str] = {
            EventOutcome.STARTED: look.GOOD,
            EventOutcome.QUEUED: look.BUSY,
        }
        tone = tones.get(event.outcome, look.CALM)
        return look.badge(event.get_outcome_display(), tone)

    @admin.display(description=_("full input"))
    def full_input(self, event: EventLog) -> str:
        return document(event.input)

    @admin.display(description=_("data"))
    def full_data(self, event: EventLog) -> str:
        return document(event.data)


@admin.register(Conversation)
class ConversationAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["__str__", "kind", "workspace", "actor_id", "updated_at"]
    list_filter = ["kind", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["key", "public_id"]
    search_help_text = _("A whole conversation key or id.")
    change_form_template = "admin/langbot_runners/conversation.html"
    fields = [
        "workspace",
        "kind",
        "key",
        "title",
        "bot_id",
        "external_id",
        "thread",
        "actor_id",
        "created_at",
        "updated_at",
    ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        conversation = context.get("original")
        if conversation is not None:
            context |= _transcript(conversation, request.GET.get("before", ""))
            context["runs"] = conversation.runs.select_related("agent").order_by("-pk")[
                :10
            ]
            context["waiting"] = conversation.queue.filter(status="queued").order_by(
                "pk"
            )
        return super().render_change_form(request, context, *args, **kwargs)


def _transcript(conversation: Conversation, before: str) -> dict[str, Any]:
    """Return one page of messages, oldest first, and where the earlier ones end."""
    items = TranscriptItem.objects.filter(conversation=conversation)
    if before.isdecimal():
        items = items.filter(seq__lt=int(before[:18]))
    page = list(items.order_by("-seq").select_related("run")[: TRANSCRIPT_PAGE + 1])
    shown = page[:TRANSCRIPT_PAGE][::-1]
    return {
        "transcript": shown,
        "earlier": shown[0].seq if len(page) > TRANSCRIPT_PAGE else None,
        "is_part": bool(before),
    }


@admin.register(QueuedMessage)
class QueuedMessageAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["created_at", "status", "said", "agent", "conversation", "run"]
    list_filter = ["status"]
    list_select_related = ["event", "agent", "conversation", "run"]

    @admin.display(description=_("input"))
    def said(self, message: QueuedMessage) -> str:
        return message.event.input_summary[:80]


@admin.register(RunnerState)
class RunnerStateAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["key", "scope", "runner_id", "workspace", "version", "updated_at"]
    list_filter = ["scope", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["scope_key", "key"]
    ordering = ["-pk"]


@admin.register(HostCall)
class HostCallAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["created_at", "action", "status", "run", "answered_at"]
    list_filter = ["status"]
    list_select_related = ["run"]
    search_fields = ["action"]
    ordering = ["-pk"]
    fields = ["run", "invocation", "plugin_seq_id", "action", "status", "reply"]
    readonly_fields = ["reply"]

    @admin.display(description=_("answer"))
    def reply(self, call: HostCall) -> str:
        return document(call.answer)


@admin.register(WorkerNode)
class WorkerNodeAdmin(look.RecordAdmin):
    Media = look.Media
    list_display = ["name", "state", "started_at", "heartbeat_at", "stopped_at"]

    @admin.display(description=_("state"))
    def state(self, node: WorkerNode) -> str:
        silence = datetime.now(UTC) - node.heartbeat_at
        if node.stopped_at is not None:
            return look.badge(pgettext("status", "stopped"))
        if silence > timedelta(seconds=limits().node_dead_seconds):
            return look.badge(_("dead"), look.BAD)
        return look.badge(_("alive"), look.GOOD)
