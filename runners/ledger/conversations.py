from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent, AgentBinding
from langbot.core.models import Workspace
from langbot.lib.models import AppendOnlyModel, AppendOnlyQuerySet, PublicModel
from langbot.lib.prepared import Literal
from runners.choices import ConversationKind, QueuedStatus, QueueMode, Role
from runners.ledger.events import EventLog
from runners.ledger.words import WordsField


class Conversation(PublicModel):
    """Where messages have an order; its row is the admission lock."""

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="conversations",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_conversation_once` begins with it
    )
    key = models.CharField(
        _("key"),
        max_length=500,
        help_text=_("Bot, the platform's conversation, thread and person."),
    )
    kind = models.CharField(
        _("kind"),
        max_length=10,
        choices=ConversationKind.choices,
        default=ConversationKind.CHAT,
    )
    bot_id = models.UUIDField(_("bot"), null=True)
    external_id = models.CharField(_("platform's id"), max_length=200, blank=True)
    thread = models.CharField(_("thread"), max_length=200, blank=True)
    actor_id = models.CharField(_("person"), max_length=200, blank=True)
    title = models.CharField(_("title"), max_length=200, blank=True)
    transcript_seq = models.PositiveBigIntegerField(default=0, editable=False)
    # What runners read of the history begins after this number; a reset moves it.
    context_seq = models.PositiveBigIntegerField(default=0, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-pk"]
        permissions = [("take_over", "Can answer in an agent's place")]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "key"], name="langbot_conversation_once"
            )
        ]
        indexes = [
            # filters and searches of the admin
            models.Index(fields=["external_id"], name="langbot_conversation_place"),
            models.Index(
                fields=["bot_id", "id"],
                condition=Q(bot_id__isnull=False),
                name="langbot_conversation_bot",
            ),
            models.Index(
                fields=["kind", "id"],
                condition=Q(kind="sub") | Q(kind="stateless"),
                name="langbot_conversation_kind",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.key


class TranscriptQuerySet(AppendOnlyQuerySet["TranscriptItem"]):
    """Rows are written once; all that may happen to them is to be replaced."""

    def current(self) -> "TranscriptQuerySet":
        """Leave out what was replaced: what models, searches and pages see."""
        return self.filter(superseded_at=None)

    def replaced(self) -> "TranscriptQuerySet":
        """Keep only what was replaced."""
        return self.filter(superseded_at__isnull=False)

    def supersede(self) -> int:
        """Take current rows out of context and pages; returns how many.

        The conversation's row must be locked. The rows and the ledger keep what was
        said; nothing undoes it.
        """
        values = {"superseded_at": datetime.now(UTC)}
        # Past AppendOnlyQuerySet, which refuses every other change.
        return models.QuerySet.update(self.filter(superseded_at=None), **values)


class TranscriptItem(AppendOnlyModel, PublicModel):
    """One message as history shows it; order is `seq`, dense per conversation."""

    conversation = models.ForeignKey(
        Conversation,
        models.CASCADE,
        related_name="transcript",
        db_index=False,  # `langbot_transcript_order`
    )
    seq = models.PositiveBigIntegerField()
    role = models.CharField(_("role"), max_length=10, choices=Role.choices)
    item_type = models.CharField(_("type"), max_length=20, default="message")
    text = models.TextField(_("text"), blank=True)
    content: Any = models.JSONField(_("content"), null=True)
    artifact_refs: Any = models.JSONField(default=list)
    event = models.ForeignKey(
        EventLog, models.SET_NULL, null=True, related_name="transcript"
    )
    run = models.ForeignKey(
        "langbot_runners.AgentRun",
        models.SET_NULL,
        null=True,
        related_name="transcript",
    )
    actor_id = models.CharField(max_length=200, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    metadata: Any = models.JSONField(default=dict)
    words = WordsField()  # what `runners.ledger.search` looks in
    # Another reply took its place, or its turn was rolled back.
    superseded_at = models.DateTimeField(_("replaced"), null=True, editable=False)

    objects = TranscriptQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("transcript")
        ordering = ["conversation", "seq"]
        constraints = [
            # also the index behind history pages
            models.UniqueConstraint(
                fields=["conversation", "seq"], name="langbot_transcript_order"
            )
        ]
        indexes = [
            # what leaves the context of runners, few in any conversation
            models.Index(
                fields=["conversation"],
                condition=Q(superseded_at__isnull=False),
                name="langbot_transcript_replaced",
            )
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"


class QueuedMessageQuerySet(models.QuerySet["QueuedMessage"]):
    def waiting(self) -> "QueuedMessageQuerySet":
        """Messages that nobody answers yet, by the index of exactly those."""
        return self.filter(status=Literal(QueuedStatus.QUEUED))


class QueuedMessage(PublicModel):
    """A message that waits for the running turn; answered later, never dropped.

    queued → promoted | injected | cancelled; `refused` is written as such. An
    injected one is answered by a run that another message began.
    """

    conversation = models.ForeignKey(
        Conversation,
        models.CASCADE,
        related_name="queue",
        verbose_name=_("conversation"),
    )
    event = models.OneToOneField(
        EventLog, models.PROTECT, related_name="queued_message", verbose_name=_("event")
    )
    agent = models.ForeignKey(
        Agent, models.PROTECT, related_name="+", verbose_name=_("agent")
    )
    binding = models.ForeignKey(
        AgentBinding,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("binding"),
    )
    mode = models.CharField(
        _("mode"),
        max_length=10,
        choices=QueueMode.choices,
        default=QueueMode.ENQUEUE,
    )
    # The key of the run that it stops, or that was told of it. No reference: it means
    # something only while that run is live, and retention need not look here.
    meets = models.PositiveBigIntegerField(null=True, editable=False)
    dry_run = models.BooleanField(_("dry run"), default=False)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=QueuedStatus.choices,
        default=QueuedStatus.QUEUED,
    )
    run = models.ForeignKey(
        "langbot_runners.AgentRun",
        models.SET_NULL,
        null=True,
        related_name="promoted_from",
        verbose_name=_("run"),
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="")
    ended_at = models.DateTimeField(_("ended at"), null=True)

    objects = QueuedMessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("queued message")
        verbose_name_plural = _("queued messages")
        ordering = ["pk"]
        indexes = [
            # the next message of a conversation, asked at the end of every run
            models.Index(
                fields=["conversation", "id"],
                condition=Q(status="queued"),
                name="langbot_queue_next",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} {self.public_id}"
