"""Deliveries: what left, where to, and how each attempt went."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.lib import admin as look
from langbot.lib.periods import PeriodFilter
from platforms.outbox import cancel_delivery, retry_delivery
from runners.admin.acts import Acts
from runners.admin.display import (
    BotColumn,
    TimedList,
    delivery_badge,
    document,
    link_to,
    moment,
    with_bots,
)
from runners.admin.exports import Column, Exports
from runners.admin.filters import BotFilter, StatusFilter
from runners.admin.search import IdSearch, deliveries_named
from runners.choices import DeliveryStatus
from runners.models import Delivery

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
_CLOSED_BY_FAILURE = (DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)
_COLUMNS = (
    Column("id", lambda one: str(one.public_id)),
    Column("status", lambda one: one.status),
    Column("bot", lambda one: str(one.bot_id)),
    Column("target", lambda one: one.target),
    Column("run", lambda one: str(one.run.public_id) if one.run else ""),
    Column("conversation", lambda one: str(one.conversation.public_id)),
    Column("attempts", lambda one: one.attempts),
    Column("last_error", lambda one: one.last_error),
    Column("platform_message_id", lambda one: one.platform_message_id),
    Column("idempotency_key", lambda one: str(one.idempotency_key)),
    Column("created_at", lambda one: one.created_at),
    Column("delivered_at", lambda one: one.delivered_at),
)


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


@admin.register(Delivery)
class DeliveryAdmin(Acts, Exports, IdSearch, look.RecordAdmin, TimedList, BotColumn):
    Media = look.RecordMedia
    list_display = ["at", "state", "bot", "place", "run_link", "attempts", "last_error"]
    list_filter = [StatusFilter, BotFilter, PeriodFilter]
    list_filter_submit = True
    search_fields = ["public_id"]
    search_help_text = _(
        "The whole id of a delivery, run or conversation, or the platform's message id."
    )
    actions = ["retry", "cancel", "export_csv", "export_json"]
    buttons = {"retry": _("Send again"), "cancel": _("Give up this delivery")}
    dangerous = frozenset({"cancel"})
    export_columns = _COLUMNS
    export_related = ("run", "conversation")
    change_form_template = "admin/langbot_runners/delivery.html"
    readonly_fields = ["state", "content", "bot", "place", "event", "agent"]

    def matches(self, text: str) -> Q:
        return deliveries_named(text)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).select_related("run", "conversation")
        match = request.resolver_match
        if match is not None and match.url_name == "langbot_runners_delivery_change":
            rows = rows.select_related("run__agent", "run__event")
        else:
            rows = rows.defer("payload", "attempt_log")
        return with_bots(rows.defer("run__snapshot", "run__metadata"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_open = obj is not None and obj.status in _OPEN
        became = ["state", "attempts", "last_error"]
        became += ["next_attempt_at"] if is_open else ["delivered_at"]
        sent = ["bot", "place", "content", "idempotency_key", "at_least_once"]
        origin = ["workspace", "run", "event", "agent", "conversation"]
        return [
            (_("What became of it?"), {"fields": [*became, "platform_message_id"]}),
            (_("What is sent where?"), {"fields": sent}),
            (
                _("Where does it come from?"),
                {"fields": [*origin, "public_id", "created_at"]},
            ),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        delivery = context.get("original")
        if delivery is not None:
            context["attempts"] = attempts_of(delivery)
            context["offers"] = self.offered(request, delivery)
            names = {"place": delivery.place}
            context["title"] = _("Delivery to %(place)s") % names
        return super().render_change_form(request, context, *args, **kwargs)

    def offers(self, row: Delivery) -> Iterable[str]:
        if row.status in _CLOSED_BY_FAILURE:
            yield "retry"
        if row.status in (DeliveryStatus.PENDING, *_CLOSED_BY_FAILURE):
            yield "cancel"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the person may send deliveries again, or give them up."""
        return request.user.has_perm("langbot_runners.change_delivery")

    @admin.action(
        description=_("Send selected failed deliveries again"), permissions=["operate"]
    )
    def retry(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        self._carry_out(request, queryset, retry_delivery, "retried")

    @admin.action(description=_("Give up selected deliveries"), permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        self._carry_out(request, queryset, cancel_delivery, "cancelled")

    def _carry_out(
        self, request: HttpRequest, rows: QuerySet[Delivery], service: Any, act: str
    ) -> None:
        author = author_of(request)

        def do(delivery: Delivery) -> bool:
            done = bool(service(delivery))
            if done:
                record_act(author, act, delivery)
            return done

        self.carry_out(request, rows, do)

    @admin.display(description=_("status"), ordering="status")
    def state(self, delivery: Delivery) -> str:
        return delivery_badge(delivery)

    @admin.display(description=_("target"), ordering="target")
    def place(self, delivery: Delivery) -> str:
        return delivery.place

    @admin.display(description=_("run"))
    def run_link(self, delivery: Delivery) -> str:
        return link_to(delivery.run)

    @admin.display(description=_("event"))
    def event(self, delivery: Delivery) -> str:
        return link_to(delivery.run and delivery.run.event)

    @admin.display(description=_("agent"))
    def agent(self, delivery: Delivery) -> str:
        return link_to(delivery.run and delivery.run.agent)

    @admin.display(description=_("payload"))
    def content(self, delivery: Delivery) -> str:
        return document(delivery.payload)
