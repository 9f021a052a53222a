from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.lib.models import AppendOnlyModel, AppendOnlyQuerySet, PublicModel
from runners.choices import EventOutcome


class EventLog(AppendOnlyModel, PublicModel):
    """One accepted event, redacted; the same id from the same source once (C-23)."""

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="+",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_event_kind` begins with it
    )
    source = models.CharField(_("source"), max_length=100)
    event_id = models.CharField(_("event id"), max_length=200)
    type = models.CharField(_("type"), max_length=100)
    time = models.DateTimeField(_("event time"))
    bot_id = models.UUIDField(_("bot"), null=True)
    conversation = models.ForeignKey(
        "langbot_runners.Conversation",
        models.PROTECT,
        null=True,
        related_name="events",
        verbose_name=_("conversation"),
        db_index=False,  # `langbot_event_chat` begins with it
    )
    thread = models.CharField(_("thread"), max_length=200, blank=True)
    actor: Any = models.JSONField(_("actor"), default=dict)
    subject: Any = models.JSONField(_("subject"), null=True)
    input_summary = models.CharField(_("input"), max_length=1000, blank=True)
    input: Any = models.JSONField(_("full input"), default=dict)
    data: Any = models.JSONField(_("data"), default=dict)
    delivery: Any = models.JSONField(_("delivery"), default=dict)
    raw_ref: Any = models.JSONField(_("raw reference"), null=True)
    metadata: Any = models.JSONField(_("metadata"), default=dict)
    trigger_source = models.CharField(_("trigger source"), max_length=20)
    source_event_type = models.CharField(
        _("platform's event type"), max_length=100, blank=True
    )
    outcome = models.CharField(
        _("outcome"), max_length=10, choices=EventOutcome.choices
    )
    outcome_reason = models.CharField(_("reason"), max_length=500, blank=True)

    objects = AppendOnlyQuerySet["EventLog"].as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-pk"]
        permissions = [("view_raw_payload", "Can see what platforms sent, as it came")]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "source", "event_id"],
                name="langbot_event_once",
            )
        ]
        indexes = [
            models.Index(fields=["workspace", "type", "id"], name="langbot_event_kind"),
            # what runners page through
            models.Index(fields=["conversation", "-id"], name="langbot_event_chat"),
            # filters and searches of the admin and of REST
            models.Index(fields=["event_id"], name="langbot_event_id"),
            models.Index(
                fields=["outcome", "id"],
                condition=Q(outcome="ignored") | Q(outcome="queued"),
                name="langbot_event_not_started",
            ),
            # The same within a workspace, as for runs.
            models.Index(
                fields=["workspace", "outcome", "id"],
                condition=Q(outcome="ignored") | Q(outcome="queued"),
                name="langbot_event_unstarted_there",
            ),
            models.Index(
                fields=["bot_id", "id"],
                condition=Q(bot_id__isnull=False),
                name="langbot_event_bot",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"
