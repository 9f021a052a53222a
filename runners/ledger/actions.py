"""What waits for a person: approvals of tool calls, questions, and what is allowed."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from langbot.core.models import Workspace
from langbot.lib.models import PublicModel
from langbot.lib.prepared import Literal
from runners.choices import ActionKind, ActionStatus
from runners.ledger.conversations import Conversation
from runners.ledger.runs import AgentRun

_FORM_PARTS = ("fields", "actions")
_PART_NAMES = {"id", "label"}  # that each of their parts has


def _are_named(parts: Any) -> bool:
    given = parts or []
    return isinstance(given, list) and all(
        isinstance(one, dict) and one.keys() >= _PART_NAMES for one in given
    )


class PendingActionQuerySet(models.QuerySet["PendingAction"]):
    def open(self) -> "PendingActionQuerySet":
        """Actions that a person may decide, by the index of exactly those."""
        return self.filter(
            status=Literal(ActionStatus.OPEN), expires_at__gt=datetime.now(UTC)
        )


class PendingAction(PublicModel):
    """One tool call or question that a person decides about, once.

    open → approved | rejected | edited | responded | expired | cancelled, by
    compare-and-set in `runners.actions` and in the transactions that end a run. An
    approval is `parked` when its run waits without a worker; `settled_at` says since
    when the decision has had its effect. A question outlives its run.

    `form` of a question is `{"type": "form|choice|confirmation", "interaction_id",
    "title", "description", "fields": […], "actions": […], "fallback_text"}`
    (wire 6.1), `decision` is `{"decision", "reason", "args", "values", "scope"}`, and
    `answer` what the runner was told: `{"result"}` or `{"error": {…}}`.
    """

    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="pending_actions",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_action_inbox` begins with it
    )
    conversation = models.ForeignKey(
        Conversation,
        models.CASCADE,
        related_name="pending_actions",
        verbose_name=_("conversation"),
    )
    run = models.ForeignKey(
        AgentRun,
        models.SET_NULL,
        null=True,
        related_name="pending_actions",
        verbose_name=_("run"),
    )
    agent = models.ForeignKey(
        Agent,
        models.CASCADE,
        related_name="pending_actions",
        verbose_name=_("agent"),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=ActionKind.choices)
    tool_call_id = models.CharField(_("tool call"), max_length=200)
    tool_name = models.CharField(_("tool"), max_length=200, blank=True)
    arguments: Any = models.JSONField(_("arguments"), default=dict)
    reason = models.CharField(_("reason"), max_length=1000, blank=True)
    form: Any = models.JSONField(_("form"), null=True)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=ActionStatus.choices,
        default=ActionStatus.OPEN,
    )
    expires_at = models.DateTimeField(_("expires"))
    invocation = models.PositiveSmallIntegerField(_("invocation"), default=1)
    plugin_seq_id = models.BigIntegerField(_("request number"), null=True)
    parked = models.BooleanField(_("its run is paused"), default=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_by_name = models.CharField(_("who decided"), max_length=200, blank=True)
    decided_at = models.DateTimeField(_("decided"), null=True)
    decision: Any = models.JSONField(_("decision"), null=True)
    answer: Any = models.JSONField(_("answer"), null=True)
    settled_at = models.DateTimeField(_("carried out"), null=True)
    node = models.UUIDField(_("worker"), null=True)

    objects = PendingActionQuerySet.as_manager()

    class Meta:
        verbose_name = _("pending action")
        verbose_name_plural = _("inbox")  # as the sidebar calls its page
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "tool_call_id"],
                condition=Q(status="open"),
                name="langbot_action_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=ActionStatus.values),
                name="langbot_action_status",
            ),
        ]
        indexes = [
            # the inbox and its counts
            models.Index(
                fields=["workspace", "status", "-id"], name="langbot_action_inbox"
            ),
            # what expires
            models.Index(
                fields=["expires_at"],
                condition=Q(status="open"),
                name="langbot_action_expiry",
            ),
            # decisions about paused runs that a worker has to carry out
            models.Index(
                fields=["id"],
                condition=Q(
                    parked=True, settled_at__isnull=True, decided_at__isnull=False
                ),
                name="langbot_action_undone",
            ),
        ]

    def __str__(self) -> str:
        title = self.form.get("title") if self.form else self.tool_name
        return f"{title or self.get_kind_display()}: {self.get_status_display()}"

    @property
    def is_open(self) -> bool:
        """Whether a person may still decide (LH-08): open, and not expired."""
        return self.status == ActionStatus.OPEN and self.expires_at > datetime.now(UTC)

    @property
    def is_usable(self) -> bool:
        """Whether what is stored has a shape that people can decide about (LH-15)."""
        if self.kind == ActionKind.APPROVAL:
            return isinstance(self.arguments, dict)
        form = self.form
        is_form = isinstance(form, dict) and "interaction_id" in form
        return is_form and all(_are_named(form.get(one)) for one in _FORM_PARTS)

    @property
    def current_status(self) -> str:
        """What it is now: expired from then on, before a sweep says so (LH-09)."""
        is_late = self.status == ActionStatus.OPEN and not self.is_open
        return ActionStatus.EXPIRED if is_late else self.status


class ToolGrant(PublicModel):
    """A tool that a person let an agent use without asking (LH-20, C-33).

    With a conversation: there, until it begins anew. Without: in all conversations of
    the agent, given by staff only. Revoked rows stay, to be looked at.
    """

    workspace = models.ForeignKey(
        Workspace, models.PROTECT, related_name="+", verbose_name=_("workspace")
    )
    agent = models.ForeignKey(
        Agent, models.CASCADE, related_name="tool_grants", verbose_name=_("agent")
    )
    conversation = models.ForeignKey(
        Conversation,
        models.CASCADE,
        null=True,
        related_name="tool_grants",
        verbose_name=_("conversation"),
    )
    tool_name = models.CharField(_("tool"), max_length=200)
    granted_by_name = models.CharField(_("allowed by"), max_length=200)
    action = models.ForeignKey(
        PendingAction,
        models.SET_NULL,
        null=True,
        related_name="grants",
        verbose_name=_("decision"),
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True)
    revoked_by_name = models.CharField(_("revoked by"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("allowed tool")
        verbose_name_plural = _("allowed tools")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.tool_name} ({self.agent})"


def end_session_grants(conversation: Conversation) -> None:
    """Forget what people allowed for this conversation only (C-33)."""
    live = ToolGrant.objects.filter(conversation=conversation, revoked_at=None)
    live.update(revoked_at=datetime.now(UTC))
