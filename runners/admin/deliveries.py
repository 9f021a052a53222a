"""Deliveries: what left, where to, and how each attempt went."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from langbot.lib import admin as look
from runners.admin.runs import TimedList, document, moment
from runners.choices import DeliveryStatus
from runners.models import Delivery

DELIVERY_TONES: dict[str, str] = {
    DeliveryStatus.DELIVERED: look.GOOD,
    DeliveryStatus.FAILED: look.BAD,
    DeliveryStatus.UNCERTAIN: look.WARN,
    DeliveryStatus.SENDING: look.BUSY,
}
# What the outbox writes of an attempt, in words.
OUTCOMES: dict[str, Any] = {
    "started": pgettext_lazy("attempt", "begun"),
    "delivered": pgettext_lazy("attempt", "delivered"),
    "retry": pgettext_lazy("attempt", "failed, tried again later"),
    "failed": pgettext_lazy("attempt", "failed"),
    "refused": pgettext_lazy("attempt", "not sent"),
    "uncertain": pgettext_lazy("attempt", "unclear whether it arrived"),
    "abandoned": pgettext_lazy("attempt", "given up"),
}
_OPEN = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as the page shows it."""

    began: str
    ended: str
    outcome: Any
    answer: str
    reason: str


def attempts_of(delivery: Delivery) -> list[Attempt]:
    """Return the logged attempts, oldest first; the log keeps the latest 50."""
    return [
        _attempt(entry) for entry in delivery.attempt_log if isinstance(entry, dict)
    ]


def _attempt(entry: dict[str, Any]) -> Attempt:
    outcome = str(entry.get("outcome") or "")
    return Attempt(
        began=_time(entry.get("at")),
        ended=_time(entry.get("ended_at")),
        outcome=OUTCOMES.get(outcome, outcome or "—"),
        answer=str(entry.get("status_code") or "—"),
        reason=str(entry.get("reason") or entry.get("error") or ""),
    )


def _time(text: Any) -> str:
    try:
        return moment(datetime.fromisoformat(str(text))) if text else "—"
    except ValueError:
        return str(text)


def _bots() -> Any:
    # By name: `platforms` is a layer above this app.
    bots = apps.get_model("langbot_platforms", "Bot")._default_manager
    return bots.filter(public_id=OuterRef("bot_id"))


@admin.register(Delivery)
class DeliveryAdmin(look.RecordAdmin, TimedList):
    Media = look.Media
    list_display = ["at", "state", "bot", "place", "run_link", "attempts", "last_error"]
    list_filter = ["status"]
    search_fields = ["public_id", "idempotency_key", "target"]
    change_form_template = "admin/langbot_runners/delivery.html"
    readonly_fields = ["state", "content", "bot", "place"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super()
            .get_queryset(request)
            .select_related("run")
            .defer("run__snapshot", "run__metadata")
            .annotate(
                bot_key=Subquery(_bots().values("pk")[:1]),
                bot_name=Subquery(_bots().values("name")[:1]),
            )
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_open = obj is not None and obj.status in _OPEN
        became = ["state", "attempts", "last_error"]
        became += ["next_attempt_at"] if is_open else ["delivered_at"]
        sent = ["bot", "place", "content", "idempotency_key", "at_least_once"]
        origin = ["workspace", "run", "conversation", "created_at"]
        return [
            (_("What became of it?"), {"fields": [*became, "platform_message_id"]}),
            (_("What is sent where?"), {"fields": sent}),
            (_("Where does it come from?"), {"fields": origin}),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        delivery = context.get("original")
        if delivery is not None:
            context["attempts"] = attempts_of(delivery)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("status"), ordering="status")
    def state(self, delivery: Delivery) -> str:
        tone = DELIVERY_TONES.get(delivery.status, look.CALM)
        return look.badge(delivery.get_status_display(), tone)

    @admin.display(description=_("bot"))
    def bot(self, delivery: Any) -> str:
        if delivery.bot_key is None:
            return str(_("a deleted bot"))
        there = reverse("admin:langbot_platforms_bot_change", args=[delivery.bot_key])
        return format_html(
            '<a class="lb-link" href="{}">{}</a>', there, delivery.bot_name
        )

    @admin.display(description=_("target"), ordering="target")
    def place(self, delivery: Delivery) -> str:
        # Written as `conversation|thread`; a conversation's own id may have a bar.
        conversation, bar, thread = delivery.target.rpartition("|")
        if not bar or not thread:
            return (conversation if bar else thread) or "—"
        names = {"conversation": conversation or "—", "thread": thread}
        return str(_("%(conversation)s, thread %(thread)s") % names)

    @admin.display(description=_("run"))
    def run_link(self, delivery: Delivery) -> str:
        if delivery.run is None:
            return "—"
        there = reverse("admin:langbot_runners_agentrun_change", args=[delivery.run_id])
        return format_html('<a class="lb-link" href="{}">{}</a>', there, delivery.run)

    @admin.display(description=_("payload"))
    def content(self, delivery: Delivery) -> str:
        return document(delivery.payload)
