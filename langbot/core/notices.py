"""Who wants to be told by mail of what, and the mails themselves."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class NoticeKind(models.TextChoices):
    """What people can be told of; each is a column of `NotificationPreference`."""

    APPROVAL = "approval", _("a decision that waits")
    BOT = "bot", _("a broken bot")
    DELIVERY = "delivery", _("a reply that could not be delivered")
    BUDGET = "budget", _("a budget near its end")


class NoticeStatus(models.TextChoices):
    """Only `waiting` is ever sent; `sending` may have arrived and never goes again."""

    WAITING = "waiting", pgettext_lazy("mail", "waiting")
    SENDING = "sending", pgettext_lazy("mail", "being sent")
    SENT = "sent", pgettext_lazy("mail", "sent")
    FAILED = "failed", pgettext_lazy("mail", "not sent")
    UNCERTAIN = "uncertain", pgettext_lazy("mail", "unclear")
    DROPPED = "dropped", pgettext_lazy("mail", "not for this person any more")


class NotificationPreference(models.Model):
    """What one person wants to be told by mail about one workspace.

    Nobody is told without such a row, nor of what they may not see.
    """

    workspace = models.ForeignKey(
        "langbot_core.Workspace",
        models.CASCADE,
        related_name="notification_preferences",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_notify_preference_once` begins with it
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="langbot_notification_preferences",
        verbose_name=_("user"),
    )
    approval = models.BooleanField(_("decisions that wait"), default=True)
    bot = models.BooleanField(_("broken bots"), default=True)
    delivery = models.BooleanField(_("undelivered replies"), default=True)
    budget = models.BooleanField(_("budgets near their end"), default=True)

    class Meta:
        verbose_name = _("mail notification")
        verbose_name_plural = _("mail notifications")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "user"], name="langbot_notify_preference_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.workspace}"


class Notification(models.Model):
    """One thing that one person is told, once. Several may share a mail.

    waiting → sending → sent | failed | uncertain, and back to waiting when no server
    took it; dropped when the person may not see it (any more).
    """

    workspace = models.ForeignKey(
        "langbot_core.Workspace",
        models.CASCADE,
        related_name="notifications",
        verbose_name=_("workspace"),
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="langbot_notifications",
        verbose_name=_("recipient"),
        db_index=False,  # `langbot_notification_last` begins with it
    )
    kind = models.CharField(_("kind"), max_length=20, choices=NoticeKind.choices)
    key = models.CharField(_("key"), max_length=200)
    context: Any = models.JSONField(_("context"), default=dict)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=NoticeStatus.choices,
        default=NoticeStatus.WAITING,
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    not_before = models.DateTimeField(_("not before"))
    claim_token = models.UUIDField(null=True, editable=False)
    claimed_at = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(_("last error"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True, db_index=True)
    sent_at = models.DateTimeField(_("sent"), null=True)

    class Meta:
        verbose_name = _("mail")
        verbose_name_plural = _("mails")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key", "recipient"], name="langbot_notification_once"
            )
        ]
        indexes = [
            # what is to be sent; nearly always empty
            models.Index(
                fields=["not_before"],
                condition=Q(status="waiting") | Q(status="sending"),
                name="langbot_notification_due",
            ),
            # whether a person got a mail just now
            models.Index(
                fields=["recipient", "claimed_at"], name="langbot_notification_last"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} → {self.recipient}"


__all__ = ["NoticeKind", "NoticeStatus", "Notification", "NotificationPreference"]
