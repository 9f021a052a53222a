"""How records look on every page: times, badges, documents and links."""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from langbot.lib import admin as look
from langbot.lib.redaction import redact
from runners.choices import ActionStatus, DeliveryStatus, RunStatus
from runners.models import AgentRun, Delivery, PendingAction

RUN_TONES: dict[str, str] = {
    RunStatus.COMPLETED: look.GOOD,
    RunStatus.FAILED: look.BAD,
    RunStatus.TIMEOUT: look.BAD,
    RunStatus.RUNNING: look.BUSY,
    RunStatus.REQUIRES_ACTION: look.WARN,
}
DELIVERY_TONES: dict[str, str] = {
    DeliveryStatus.DELIVERED: look.GOOD,
    DeliveryStatus.FAILED: look.BAD,
    DeliveryStatus.UNCERTAIN: look.WARN,
    DeliveryStatus.SENDING: look.BUSY,
}
ACTION_TONES: dict[str, str] = {
    ActionStatus.OPEN: look.WARN,
    ActionStatus.APPROVED: look.GOOD,
    ActionStatus.EDITED: look.GOOD,
    ActionStatus.RESPONDED: look.GOOD,
    ActionStatus.REJECTED: look.BAD,
}


class TimedList:
    """A list whose first column is when the row was made."""

    @admin.display(description=_("time"), ordering="pk")
    def at(self, row: Any) -> str:
        return format_html('<span class="lb-when">{}</span>', moment(row.created_at))


class BotColumn:
    """Rows with their bot's name, read with them: there is no foreign key."""

    @admin.display(description=_("bot"))
    def bot(self, row: Any) -> str:
        if row.bot_id is None:
            return "—"
        if row.bot_key is None:
            return str(_("a deleted bot"))
        there = reverse("admin:langbot_platforms_bot_change", args=[row.bot_key])
        return format_html('<a class="lb-record" href="{}">{}</a>', there, row.bot_name)


def with_bots(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Add `bot_key` and `bot_name`; `platforms` is a layer above this app."""
    bots = apps.get_model("langbot_platforms", "Bot")._default_manager
    named = bots.filter(public_id=OuterRef("bot_id"))
    found: QuerySet[Any] = rows.annotate(
        bot_key=Subquery(named.values("pk")[:1]),
        bot_name=Subquery(named.values("name")[:1]),
    )
    return found


def run_badge(run: AgentRun) -> str:
    """Return the status of a run as a badge."""
    tone = RUN_TONES.get(run.status, look.CALM)
    return look.badge(run.get_status_display(), tone)


def delivery_badge(delivery: Delivery) -> str:
    """Return the status of a delivery as a badge."""
    tone = DELIVERY_TONES.get(delivery.status, look.CALM)
    return look.badge(delivery.get_status_display(), tone)


def action_badge(action: PendingAction) -> str:
    """Return the status of what a person was asked as a badge."""
    tone = ACTION_TONES.get(action.status, look.CALM)
    return look.badge(action.get_status_display(), tone)


def labels_of(run: AgentRun) -> str:
    """Return the labels that people gave a run, as badges."""
    labels = run.labels if isinstance(run.labels, list) else []
    badges = ((look.badge(label),) for label in labels)
    return format_html_join(" ", "{}", badges) or "—"


def moment(value: Any) -> str:
    """Return a time to the second, in the person's zone; a dash for none."""
    return f"{localtime(value):%Y-%m-%d %H:%M:%S}" if value else "—"


def seconds_between(start: Any, end: Any) -> str:
    """Return a duration in seconds, or a dash while one end is missing."""
    return f"{(end - start).total_seconds():.2f}\u00a0s" if start and end else "—"


def document(value: Any) -> str:
    """Return a JSON document for reading, without secrets and payloads."""
    text = json.dumps(redact(value), indent=2, ensure_ascii=False)
    return format_html('<pre class="lb-text lb-json">{}</pre>', text)


def page_of(row: Model) -> str:
    """Return the address of a row's page in the admin."""
    meta = row._meta
    name = f"admin:{meta.app_label}_{meta.model_name}_change"
    return reverse(name, args=[row.pk])


def link_to(row: Model | None, text: Any = None) -> str:
    """Return a link to a row's page, a dash for none."""
    if row is None:
        return "—"
    shown = str(row) if text is None else text
    return format_html('<a class="lb-record" href="{}">{}</a>', page_of(row), shown)


def two_lines(first: Any, second: Any) -> str:
    """Return a value with what explains it below."""
    return format_html(
        '<span>{} <span class="lb-muted lb-below">{}</span></span>', first, second
    )


__all__ = [
    "DELIVERY_TONES",
    "RUN_TONES",
    "BotColumn",
    "TimedList",
    "action_badge",
    "delivery_badge",
    "document",
    "labels_of",
    "link_to",
    "moment",
    "page_of",
    "run_badge",
    "seconds_between",
    "two_lines",
    "with_bots",
]
