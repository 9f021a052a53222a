"""Events: what came in, what became of it and why."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.core.permissions import RAW_PAYLOAD
from langbot.lib import admin as look
from langbot.lib.periods import PeriodFilter
from runners.admin.acts import Acts
from runners.admin.came_in import came_in, person, source_link
from runners.admin.display import (
    BotColumn,
    TimedList,
    delivery_badge,
    document,
    link_to,
    moment,
    run_badge,
    with_bots,
)
from runners.admin.exports import Column, Exports
from runners.admin.filters import BotFilter, OutcomeFilter
from runners.admin.search import IdSearch, events_named
from runners.choices import EventOutcome
from runners.models import AgentRun, Delivery, EventLog, QueuedMessage
from runners.replays import replay_event

_TONES: dict[str, str] = {
    EventOutcome.STARTED: look.GOOD,
    EventOutcome.QUEUED: look.BUSY,
    EventOutcome.IGNORED: look.WARN,
}
_LARGE = ("input", "data", "delivery", "metadata", "raw_ref")
_NAME = "langbot_runners_eventlog"
_MOST = 20  # related rows of a kind
_COLUMNS = (
    Column("id", lambda event: str(event.public_id)),
    Column("source", lambda event: event.source),
    Column("event_id", lambda event: event.event_id),
    Column("type", lambda event: event.type),
    Column("time", lambda event: event.time),
    Column("bot", lambda event: str(event.bot_id or "")),
    Column("conversation", lambda event: _id_of(event.conversation)),
    Column("thread", lambda event: event.thread),
    Column("actor", lambda event: event.actor),
    Column("input", lambda event: event.input_summary),
    Column("outcome", lambda event: event.outcome),
    Column("reason", lambda event: event.outcome_reason),
    Column("created_at", lambda event: event.created_at),
)


def _id_of(row: Any) -> str:
    return "" if row is None else str(row.public_id)


@admin.register(EventLog)
class EventLogAdmin(Acts, Exports, IdSearch, look.RecordAdmin, TimedList, BotColumn):
    Media = look.RecordMedia
    list_display = ["at", "type", "sender", "words", "result", "outcome_reason"]
    list_filter = [OutcomeFilter, BotFilter, PeriodFilter]
    list_filter_submit = True
    search_fields = ["public_id"]
    search_help_text = _("A whole event type, event id or id.")
    actions = ["replay", "export_csv", "export_json"]
    buttons = {"replay": _("Replay this event")}
    export_columns = _COLUMNS
    export_related = ("conversation",)
    change_form_template = "admin/langbot_runners/event.html"
    readonly_fields = [
        "result",
        "bot",
        "came_from",
        "said",
        "when",
        "who",
        "about",
        "full_input",
        "full_data",
        "way_back",
        "all_metadata",
        "raw",
    ]

    def matches(self, text: str) -> Q:
        return events_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        # The list shows the summary; whole inputs may hold megabytes.
        events = with_bots(super().get_queryset(request))
        match = request.resolver_match
        if match is not None and match.url_name == f"{_NAME}_changelist":
            return events.defer(*_LARGE)
        return events.select_related("conversation", "workspace")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        became = ["result", "outcome_reason"]
        happened = ["type", "when", "came_from", "event_id", "who", "about"]
        came = ["said", "full_input"]
        if request.user.has_perm(RAW_PAYLOAD):
            came += ["full_data", "way_back", "all_metadata", "raw"]
        more = ["trigger_source", "source_event_type", "public_id", "created_at"]
        place = ["workspace", "bot", "conversation", "thread"]
        return [
            (_("What became of it?"), {"fields": became}),
            (_("What happened?"), {"fields": happened}),
            (_("Where?"), {"fields": place}),
            (_("What came in?"), {"fields": came}),
            (_("More"), {"classes": ["collapse"], "fields": more}),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        event: EventLog | None = context.get("original")
        if event is not None:
            context |= _became(event)
            context["offers"] = self.offered(request, event)
            context["title"] = event.type
            if event.outcome == EventOutcome.RECORDED:
                context["sent_by"] = source_link(event)
        return super().render_change_form(request, context, *args, **kwargs)

    def offers(self, row: EventLog) -> Iterable[str]:
        if row.outcome != EventOutcome.RECORDED:
            yield "replay"

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether the person may have events happen again: who may send events."""
        return request.user.has_perm("langbot_runners.add_eventlog")

    @admin.action(description=_("Replay selected events"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[EventLog]) -> None:
        author = author_of(request)
        whole = queryset.select_related("conversation", "workspace").defer(None)
        self.carry_out(request, whole, lambda event: bool(replay_event(event, author)))

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        """Say of messages that had to wait what became of them: one query a page."""
        queued = [row.pk for row in rows if row.outcome == EventOutcome.QUEUED]
        runs = AgentRun.objects.filter(event__in=queued).order_by("attempt")
        found = {run.event_id: run for run in runs.only("event", "status", "attempt")}
        for row in rows:
            row.became = found.get(row.pk)

    @admin.display(description=_("outcome"), ordering="outcome")
    def result(self, event: Any) -> str:
        tone = _TONES.get(event.outcome, look.CALM)
        decided = look.badge(event.get_outcome_display(), tone)
        run = getattr(event, "became", None)
        return decided if run is None else format_html("{} {}", decided, run_badge(run))

    @admin.display(description=_("source"))
    def sender(self, event: Any) -> str:
        return self.bot(event) if event.bot_id is not None else source_link(event)

    @admin.display(description=_("input"))
    def words(self, event: EventLog) -> str:
        return format_html('<div class="lb-words">{}</div>', event.input_summary[:200])

    @admin.display(description=_("source"))
    def came_from(self, event: EventLog) -> str:
        return source_link(event)

    @admin.display(description=_("text"))
    def said(self, event: EventLog) -> str:
        text = came_in(event).text
        return format_html('<div class="lb-text">{}</div>', text) if text else "—"

    @admin.display(description=_("event time"))
    def when(self, event: EventLog) -> str:
        return moment(event.time)

    @admin.display(description=_("actor"))
    def who(self, event: EventLog) -> str:
        return person(event.actor)

    @admin.display(description=_("subject"))
    def about(self, event: EventLog) -> str:
        return person(event.subject)

    @admin.display(description=_("full input"))
    def full_input(self, event: EventLog) -> str:
        return document(event.input)

    @admin.display(description=_("data"))
    def full_data(self, event: EventLog) -> str:
        return document(event.data)

    @admin.display(description=_("delivery"))
    def way_back(self, event: EventLog) -> str:
        return document(event.delivery)

    @admin.display(description=_("metadata"))
    def all_metadata(self, event: EventLog) -> str:
        return document(event.metadata)

    @admin.display(description=_("raw reference"))
    def raw(self, event: EventLog) -> str:
        return document(event.raw_ref)


def _became(event: EventLog) -> dict[str, Any]:
    """Return the runs, the queued message and the deliveries that followed."""
    runs = AgentRun.objects.filter(event=event).select_related("agent")
    runs = runs.defer("snapshot", "metadata", "agent__runner_config")
    shown = list(runs.order_by("attempt")[:_MOST])
    deliveries = Delivery.objects.filter(run__in=[run.pk for run in shown])
    deliveries = deliveries.defer("payload", "attempt_log").order_by("pk")[:_MOST]
    queued = QueuedMessage.objects.filter(event=event).first()
    return {
        "runs": [{"row": run, "badge": run_badge(run)} for run in shown],
        "deliveries": [
            {"row": one, "badge": delivery_badge(one), "place": one.place}
            for one in deliveries
        ],
        "queued": queued and link_to(queued, queued.get_status_display()),
    }
