from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent, AgentBinding
from langbot.core.models import Workspace
from langbot.lib.models import AppendOnlyModel, AppendOnlyQuerySet, PublicModel
from langbot.lib.prepared import Literal
from runners.choices import (
    LIVE,
    TERMINAL,
    UNSETTLED,
    EventType,
    HostCallStatus,
    RunStatus,
)
from runners.labels import has_problem, is_labelled
from runners.ledger.conversations import Conversation
from runners.ledger.events import EventLog

# Written with OR: SQLite proves that a row is in a partial index only from one term.
_UNSETTLED = reduce(or_, (Q(status=status) for status in UNSETTLED))


class AgentRunQuerySet(models.QuerySet["AgentRun"]):
    """Statuses are literals here: the few live runs of many are found by an index."""

    def live(self) -> "AgentRunQuerySet":
        """Runs that have not ended."""
        # In the order of `langbot_run_one_live`: SQLite compares the lists as they are.
        return self.filter(status__in=[Literal(one) for one in LIVE])

    def waiting(self) -> "AgentRunQuerySet":
        """Runs that a worker may claim, oldest first."""
        return self.filter(status=Literal(RunStatus.QUEUED)).order_by("pk")

    def running(self) -> "AgentRunQuerySet":
        """Runs that a worker carries, or should."""
        return self.filter(status=Literal(RunStatus.RUNNING))

    def paused(self) -> "AgentRunQuerySet":
        """Runs that wait for a person, without a worker."""
        return self.filter(status=Literal(RunStatus.REQUIRES_ACTION))


class AgentRun(PublicModel):
    """One execution of an agent for one event. The row is the truth.

    created → queued → running → completed | failed | cancelled | timeout;
    running → requires_action → queued. Every change is a compare-and-set of status
    and fencing token in `runners.ledger.fence`; nobody saves a run.
    """

    # Every change of status writes a row's every index again: a reference has one of
    # its own only where no other begins with it.
    workspace = models.ForeignKey(
        Workspace,
        models.PROTECT,
        related_name="runs",
        verbose_name=_("workspace"),
        db_index=False,  # `langbot_run_workspace`
    )
    conversation = models.ForeignKey(
        Conversation,
        models.PROTECT,
        related_name="runs",
        verbose_name=_("conversation"),
        db_index=False,  # `langbot_run_chat`
    )
    event = models.ForeignKey(
        EventLog,
        models.PROTECT,
        related_name="runs",
        verbose_name=_("event"),
        db_index=False,  # `langbot_run_attempt_once`
    )
    binding = models.ForeignKey(
        AgentBinding,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("binding"),
    )
    agent = models.ForeignKey(
        Agent,
        models.PROTECT,
        related_name="runs",
        verbose_name=_("agent"),
        db_index=False,  # `langbot_run_agent`
    )
    agent_version = models.PositiveIntegerField(_("agent version"), default=0)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=1)
    runner_id = models.CharField(_("runner"), max_length=300)
    bot_id = models.UUIDField(_("bot"), null=True)
    parent = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        related_name="children",
        verbose_name=_("parent run"),
        db_index=False,  # `langbot_run_parent`
    )
    depth = models.PositiveSmallIntegerField(_("depth"), default=0)
    origin = models.CharField(_("origin"), max_length=100, blank=True)
    dry_run = models.BooleanField(_("dry run"), default=False)

    status = models.CharField(
        _("status"), max_length=20, choices=RunStatus.choices, default=RunStatus.CREATED
    )
    status_reason = models.CharField(_("reason"), max_length=500, blank=True)
    error_code = models.CharField(_("error code"), max_length=100, blank=True)
    retryable = models.BooleanField(_("retryable"), default=False)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True)
    cancel_reason = models.CharField(_("cancel reason"), max_length=200, blank=True)

    snapshot: Any = models.JSONField(_("snapshot"), null=True)
    node = models.UUIDField(_("worker"), null=True)
    fencing_token = models.PositiveBigIntegerField(_("fencing token"), default=0)
    connection_id = models.UUIDField(_("plugin connection"), null=True)
    web_node = models.CharField(_("web node"), max_length=40, blank=True)
    last_seq = models.PositiveIntegerField(_("last event number"), default=0)
    # Who began to follow before the latest of them is sent away (AG-55).
    stream_cuts = models.PositiveIntegerField(
        _("times its listeners were sent away"), default=0, db_default=0
    )
    inbound_cursor = models.CharField(_("inbound cursor"), max_length=40, default="0-0")
    invocation = models.PositiveSmallIntegerField(_("invocation"), default=1)
    last_runner_sequence = models.PositiveIntegerField(
        _("last number of the runner"), default=0
    )

    queue_name = models.CharField(_("queue"), max_length=50, blank=True, default="")
    priority = models.SmallIntegerField(_("priority"), default=0)
    dispatch_attempts = models.PositiveIntegerField(_("times dispatched"), default=0)
    last_claimed_at = models.DateTimeField(_("last dispatched"), null=True)
    claim_lease_expires_at = models.DateTimeField(
        _("lease of its remote runtime"), null=True
    )

    deadline_at = models.DateTimeField(_("deadline"), null=True)
    queued_at = models.DateTimeField(_("queued"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    first_output_at = models.DateTimeField(_("first output"), null=True)
    last_active_at = models.DateTimeField(_("last activity"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    usage: Any = models.JSONField(_("usage"), null=True)
    cost_microdollars = models.BigIntegerField(_("cost (microdollars)"), null=True)
    labels: Any = models.JSONField(_("labels"), default=list, blank=True)
    notes = models.TextField(_("notes"), blank=True)
    metadata: Any = models.JSONField(_("metadata"), default=dict, blank=True)

    objects = AgentRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-pk"]
        permissions = [
            ("cancel_run", "Can cancel runs"),
            ("resolve_action", "Can approve, reject and answer for runs"),
            ("view_cost", "Can see what runs cost"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["event", "agent", "attempt"], name="langbot_run_attempt_once"
            ),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status__in=LIVE),
                name="langbot_run_one_live",
            ),
            models.CheckConstraint(condition=Q(depth__lte=3), name="langbot_run_depth"),
            # It refuses any other status, too. PostgreSQL reads and plans each check
            # anew with every statement that writes a row: 40 us for a list of eight.
            models.CheckConstraint(
                condition=Q(status__in=TERMINAL, finished_at__isnull=False)
                | Q(status__in=LIVE, finished_at__isnull=True),
                name="langbot_run_finished_when_terminal",
            ),
        ]
        indexes = [
            # what a worker claims, adopts and sweeps, and what people look for: all
            # but what went well
            models.Index(
                fields=["status", "id"],
                condition=_UNSETTLED,
                name="langbot_run_unsettled",
            ),
            # cancels that nobody has carried out yet
            models.Index(
                fields=["cancel_requested_at"],
                condition=Q(status__in=LIVE, cancel_requested_at__isnull=False),
                name="langbot_run_cancels",
            ),
            models.Index(fields=["workspace", "-id"], name="langbot_run_workspace"),
            models.Index(fields=["agent", "-id"], name="langbot_run_agent"),
            models.Index(fields=["conversation", "-id"], name="langbot_run_chat"),
            # few runs have a parent
            models.Index(
                fields=["parent"],
                condition=Q(parent__isnull=False),
                name="langbot_run_parent",
            ),
            # filters and searches of the admin and of REST
            models.Index(
                fields=["bot_id", "id"],
                condition=Q(bot_id__isnull=False),
                name="langbot_run_bot",
            ),
            models.Index(
                fields=["id"], condition=is_labelled(), name="langbot_run_labelled"
            ),
            # The same within a workspace: with only that column to go by, SQLite
            # would read all of its runs.
            models.Index(
                fields=["workspace", "status", "id"],
                condition=_UNSETTLED,
                name="langbot_run_unsettled_there",
            ),
            models.Index(
                fields=["workspace", "error_code", "id"],
                condition=has_problem(),
                name="langbot_run_problem",
            ),
            models.Index(
                fields=["workspace", "id"],
                condition=is_labelled(),
                name="langbot_run_labelled_there",
            ),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from its start to its end; None without either (AG-56)."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at) // timedelta(milliseconds=1)


class RunEvent(AppendOnlyModel):
    """One fact of a run; `seq` is dense and allocated by the fence statement."""

    run = models.ForeignKey(
        AgentRun,
        models.CASCADE,
        related_name="events",
        db_index=False,  # `langbot_run_event_seq`
    )
    seq = models.PositiveIntegerField()
    type = models.CharField(_("type"), max_length=30, choices=EventType.choices)
    data: Any = models.JSONField(_("data"), default=dict)
    invocation = models.PositiveSmallIntegerField(default=1)
    runner_sequence = models.PositiveIntegerField(null=True)
    usage: Any = models.JSONField(null=True)
    created_at = models.DateTimeField(_("time"))

    objects = AppendOnlyQuerySet["RunEvent"].as_manager()

    class Meta:
        verbose_name = _("run event")
        verbose_name_plural = _("run events")
        ordering = ["run", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], name="langbot_run_event_seq")
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"


class HostCall(models.Model):
    """The journal of one side effect: written before it, answered after it."""

    run = models.ForeignKey(
        AgentRun,
        models.CASCADE,
        related_name="host_calls",
        verbose_name=_("run"),
        db_index=False,  # `langbot_host_call_once`
    )
    invocation = models.PositiveSmallIntegerField(_("invocation"))
    plugin_seq_id = models.BigIntegerField(_("request number"))
    action = models.CharField(_("action"), max_length=50)
    # What the model and the agent call it: a run that goes on after a pause finds its
    # calls by them. Empty for whatever is no tool.
    tool_call_id = models.CharField(_("tool call"), max_length=200, db_default="")
    tool_name = models.CharField(_("tool"), max_length=200, db_default="")
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=HostCallStatus.choices,
        default=HostCallStatus.STARTED,
    )
    answer: Any = models.JSONField(_("answer"), null=True)
    created_at = models.DateTimeField(_("started"), auto_now_add=True)
    answered_at = models.DateTimeField(_("answered at"), null=True)

    class Meta:
        verbose_name = _("host call")
        verbose_name_plural = _("host calls")
        constraints = [
            models.UniqueConstraint(
                fields=["run", "invocation", "plugin_seq_id"],
                name="langbot_host_call_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.get_status_display()}"
