"""Closed lists of the ledger: statuses, roles, event types."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class RunStatus(models.TextChoices):
    """C-05; edges in `EDGES`."""

    CREATED = "created", pgettext_lazy("status", "created")
    QUEUED = "queued", pgettext_lazy("status", "queued")
    RUNNING = "running", _("running")
    REQUIRES_ACTION = "requires_action", _("waiting for a person")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    TIMEOUT = "timeout", _("timed out")


LIVE = (
    RunStatus.CREATED,
    RunStatus.QUEUED,
    RunStatus.RUNNING,
    RunStatus.REQUIRES_ACTION,
)
TERMINAL = (
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.TIMEOUT,
)
# All but what went well: few of many rows, and those that people look for.
UNSETTLED = (*LIVE, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMEOUT)
# target status -> the statuses it may be reached from
EDGES: dict[RunStatus, tuple[RunStatus, ...]] = {
    # from running: a remote runtime gave the run back, or fell silent
    RunStatus.QUEUED: (
        RunStatus.CREATED,
        RunStatus.REQUIRES_ACTION,
        RunStatus.RUNNING,
    ),
    RunStatus.RUNNING: (RunStatus.QUEUED,),
    RunStatus.REQUIRES_ACTION: (RunStatus.RUNNING,),
    RunStatus.COMPLETED: (RunStatus.RUNNING,),
    RunStatus.FAILED: LIVE,
    RunStatus.CANCELLED: LIVE,
    RunStatus.TIMEOUT: (RunStatus.RUNNING,),
}


class Role(models.TextChoices):
    USER = "user", _("user")
    ASSISTANT = "assistant", _("assistant")
    SYSTEM = "system", _("system")
    TOOL = "tool", _("tool")
    REASONING = "reasoning", _("reasoning")


# Types of transcript rows that only people see. What an agent thinks never goes back
# to a model (AG-61); where its policy hides it, it is for who operates the agent.
ERROR, THOUGHT, HIDDEN_THOUGHT = "error", "reasoning", "hidden_reasoning"
STOPPED = "stop_marker"  # a person stopped the turn (AG-64); its one text:
STOP_TEXT = "[stopped]"
NOT_FOR_MODELS = (ERROR, THOUGHT, HIDDEN_THOUGHT, STOPPED)


class ConversationKind(models.TextChoices):
    CHAT = "chat", _("chat")
    SUB = "sub", _("sub-run")
    STATELESS = "stateless", _("stateless call")


# Opened for one run, and of no use without it.
PASSING = (ConversationKind.SUB, ConversationKind.STATELESS)


class EventOutcome(models.TextChoices):
    """What admission decided for an event; written with it, never changed."""

    STARTED = "started", _("run started")
    QUEUED = "queued", _("message queued")
    IGNORED = "ignored", _("ignored")
    RECORDED = "recorded", _("recorded")


class QueuedStatus(models.TextChoices):
    QUEUED = "queued", pgettext_lazy("status", "queued")
    INJECTED = "injected", _("handed to the running run")
    PROMOTED = "promoted", _("became a run")
    CANCELLED = "cancelled", _("cancelled")
    REFUSED = "refused", _("refused")


class QueueMode(models.TextChoices):
    """What a waiting message waits for, and what it did to the run before it."""

    ENQUEUE = "enqueue", _("waits for its turn")
    STEERING = "steering", _("waits for the running run to take it up")
    INTERRUPT = "interrupt", _("stops the run before it")
    ROLLBACK = "rollback", _("stops the run before it and forgets that turn")


STOPPING = (QueueMode.INTERRUPT, QueueMode.ROLLBACK)


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    DELIVERED = "delivered", pgettext_lazy("status", "delivered")
    FAILED = "failed", _("failed")
    UNCERTAIN = "uncertain", _("uncertain")
    CANCELLED = "cancelled", _("cancelled")


class ActionKind(models.TextChoices):
    APPROVAL = "approval", _("approval")
    QUESTION = "question", _("question")


class ActionStatus(models.TextChoices):
    """`open` is decided once by a person, or ends by itself."""

    OPEN = "open", pgettext_lazy("status", "open")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    EDITED = "edited", _("approved with changes")
    RESPONDED = "responded", _("answered by a person")
    EXPIRED = "expired", pgettext_lazy("status", "expired")
    CANCELLED = "cancelled", _("cancelled")


class HostCallStatus(models.TextChoices):
    STARTED = "started", pgettext_lazy("status", "started")
    ANSWERED = "answered", _("answered")
    FAILED = "failed", _("failed")


class ClientCallStatus(models.TextChoices):
    WAITING = "waiting", pgettext_lazy("tool call", "waiting for a client")
    ANSWERED = "answered", _("answered")
    EXPIRED = "expired", _("expired")


class EventType(models.TextChoices):
    """Ledger and stream types, the closed list of the contract."""

    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_PAUSED = "run.paused"
    RUN_RESUMED = "run.resumed"
    RUN_ADOPTED = "run.adopted"
    MESSAGE_DELTA = "message.delta"
    MESSAGE_COMPLETED = "message.completed"
    REASONING_DELTA = "reasoning.delta"
    TOOL_CALL_STARTED = "tool.call.started"
    TOOL_CALL_COMPLETED = "tool.call.completed"
    ARTIFACT_CREATED = "artifact.created"
    STATE_UPDATED = "state.updated"
    ACTION_REQUESTED = "action.requested"
    ACTION_RESOLVED = "action.resolved"
    STEERING_QUEUED = "steering.queued"
    STEERING_INJECTED = "steering.injected"
    STEERING_DROPPED = "steering.dropped"
    PROCESSOR_LOG = "processor.log"
    WARNING = "warning"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"


ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED})
