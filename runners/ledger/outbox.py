from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.models import PublicModel
from runners.choices import DeliveryStatus
from runners.ledger.conversations import Conversation
from runners.ledger.frozen import frozen_delivery
from runners.ledger.runs import AgentRun


def target_of(conversation: Conversation) -> str:
    """Return whom a delivery goes to: deliveries of one target keep their order."""
    return f"{conversation.external_id}|{conversation.thread}"[:300]


def new_delivery(
    run: AgentRun,
    conversation: Conversation,
    payload: dict[str, Any],
    bot_id: UUID | None = None,
) -> "Delivery":
    """Return an unsaved delivery to the place of a conversation, by the run's bot.

    `payload` has at least `text` and `artifacts`. The run's event and snapshot must be
    loaded.
    """
    sender = bot_id or run.bot_id
    if sender is None:
        message = "a delivery needs a bot"
        raise ValueError(message)
    given = {
        "run_id": str(run.public_id),
        "status": run.status,
        "reply_target": run.event.delivery.get("reply_target") or {},
        **payload,
    }
    delivery = _delivery(conversation, sender, given)
    delivery.run = run
    delivery.at_least_once = frozen_delivery(run).get("ambiguous") == "at_least_once"
    return delivery


def new_message(
    conversation: Conversation, bot_id: UUID, text: str, key: UUID
) -> "Delivery":
    """Return an unsaved delivery of a text that no run has said.

    `key` is its idempotency key: the same message said again has the same one.
    """
    payload = {"status": "", "reply_target": {}, "text": text, "artifacts": []}
    delivery = _delivery(conversation, bot_id, payload)
    delivery.idempotency_key = key
    return delivery


def _delivery(
    conversation: Conversation, bot_id: UUID, payload: dict[str, Any]
) -> "Delivery":
    place = {"conversation": conversation.external_id, "thread": conversation.thread}
    return Delivery(
        workspace_id=conversation.workspace_id,
        conversation=conversation,
        bot_id=bot_id,
        target=target_of(conversation),
        payload={**place, **payload},
        status=DeliveryStatus.PENDING,
        next_attempt_at=datetime.now(UTC),
    )


class Delivery(PublicModel):
    """One reply on its way out; one idempotency key over all its attempts.

    pending → sending → delivered | failed | uncertain, and back to pending for a
    retry. Only the lowest unfinished row of a target is claimed, so order holds.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="deliveries",
        verbose_name=_("workspace"),
    )
    run = models.ForeignKey(
        AgentRun,
        models.SET_NULL,
        null=True,
        related_name="deliveries",
        verbose_name=_("run"),
    )
    conversation = models.ForeignKey(
        Conversation,
        models.PROTECT,
        related_name="deliveries",
        verbose_name=_("conversation"),
    )
    bot_id = models.UUIDField(_("bot"))
    target = models.CharField(_("target"), max_length=300)
    payload: Any = models.JSONField(_("payload"))
    idempotency_key = models.UUIDField(
        _("idempotency key"), default=uuid7, unique=True, editable=False
    )
    at_least_once = models.BooleanField(_("at least once"), default=False)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=DeliveryStatus.choices,
        default=DeliveryStatus.PENDING,
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    attempt_log: Any = models.JSONField(_("attempt log"), default=list)
    next_attempt_at = models.DateTimeField(_("next attempt"))
    claim_token = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    last_error = models.TextField(_("last error"), blank=True)
    platform_message_id = models.CharField(
        _("platform's message id"), max_length=200, blank=True
    )
    delivered_at = models.DateTimeField(_("delivered"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-pk"]
        indexes = [
            # what is due, and whether something older waits for the same target
            models.Index(
                fields=["bot_id", "target", "id"],
                condition=Q(status__in=["pending", "sending"]),
                name="langbot_delivery_open",
            ),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status__in=["pending", "sending"]),
                name="langbot_delivery_due",
            ),
            # filters and searches of the admin and of REST
            models.Index(
                fields=["status", "id"],
                condition=Q(status="failed")
                | Q(status="uncertain")
                | Q(status="cancelled")
                | Q(status="pending")
                | Q(status="sending"),
                name="langbot_delivery_unsettled",
            ),
            models.Index(
                fields=["platform_message_id"], name="langbot_delivery_message"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} → {self.place}"

    @property
    def place(self) -> str:
        """The target in words: it is written as `conversation|thread`.

        A conversation's own id may have a bar, a thread has none.
        """
        conversation, bar, thread = self.target.rpartition("|")
        if not bar or not thread:
            return (conversation if bar else thread) or "—"
        names = {"conversation": conversation or "—", "thread": thread}
        return str(_("%(conversation)s, thread %(thread)s") % names)
