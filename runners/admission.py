"""The one way in: an event becomes a run, a queued message, or a recorded fact.

Idle or busy is decided under the conversation's lock, in one transaction that
writes the event, its transcript row and its run or queue entry together.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext

from agents.choices import BindingScope, SessionScope
from agents.matching import AmbiguousBindingError, Candidate, resolve
from agents.models import Agent, AgentBinding
from artifacts.inputs import register_inputs
from langbot.core.models import Workspace
from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from langbot.lib.redaction import redact
from runners.choices import ConversationKind, EventOutcome, QueuedStatus
from runners.errors import AgentUnavailableError, InputTooLargeError, QueueFullError
from runners.ledger.turns import Turn, open_turn
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage
from runners.wakes import wake_runs

_KEY_LENGTH = 500


@dataclass(frozen=True, slots=True)
class BotRef:
    """A bot as the ledger names it."""

    public_id: UUID
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A normalised event (LB-02). `source` is set by the server, never the sender."""

    workspace: Workspace
    source: str
    event_id: str
    type: str
    trigger_source: str
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    bot: BotRef | None = None
    agent: Agent | None = None
    conversation: Conversation | None = None
    external_conversation: str = ""
    thread: str = ""
    actor: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, Any] | None = None
    input: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    delivery: dict[str, Any] = field(default_factory=dict)
    raw_ref: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    source_event_type: str = ""
    dry_run: bool = False


@dataclass(slots=True)
class Admitted:
    """What became of an event: `status` is started, queued, duplicate or ignored."""

    status: str
    event: EventLog
    conversation: Conversation | None = None
    run: AgentRun | None = None
    message: QueuedMessage | None = None
    buffer_length: int = 0
    live_run: AgentRun | None = None


def admit(incoming: Incoming) -> Admitted:
    """Accept an event once; a repeat of its id from its source changes nothing.

    Raises an AdmissionError when it is refused; then nothing was written.
    """
    text = str(incoming.input.get("text") or "")
    if len(text) > limits().follow_up_characters:
        raise InputTooLargeError(
            gettext("The text has %(length)d characters, at most %(maximum)d fit.")
            % {"length": len(text), "maximum": limits().follow_up_characters}
        )
    known = _known(incoming)
    if known is not None:
        return known
    agent, binding, reason = _responsible(incoming)
    try:
        with transaction.atomic():
            return _admit_new(incoming, agent, binding, reason)
    except IntegrityError:
        known = _known(incoming)  # another copy of the event won the race
        if known is None:
            raise
        return known


def _known(incoming: Incoming) -> Admitted | None:
    same = EventLog.objects.filter(
        workspace=incoming.workspace,
        source=incoming.source,
        event_id=incoming.event_id,
    )
    if not same.exists():
        return None
    event = same.select_related("conversation").get()
    message = QueuedMessage.objects.filter(event=event).first()
    run = event.runs.order_by("-attempt").first()
    return Admitted("duplicate", event, event.conversation, run, message)


def _responsible(
    incoming: Incoming,
) -> tuple[Agent | None, AgentBinding | None, str]:
    if incoming.agent is not None:
        return incoming.agent, _agent_binding(incoming), ""
    candidate = Candidate(
        workspace_id=incoming.workspace.pk,
        type=incoming.type,
        bot_slug=incoming.bot.slug if incoming.bot else "",
        facts=_facts(incoming),
    )
    try:
        winner = resolve(candidate).winner
    except AmbiguousBindingError as error:
        return None, None, str(error)
    if winner is None:
        return None, None, gettext("no binding matches")
    return winner.agent, winner, ""


def _agent_binding(incoming: Incoming) -> AgentBinding | None:
    agent = incoming.agent
    if agent is None or not agent.enabled or agent.archived_at is not None:
        raise AgentUnavailableError(gettext("The agent is disabled."))
    return agent.bindings.filter(scope=BindingScope.AGENT, enabled=True).first()


def _facts(incoming: Incoming) -> dict[str, Any]:
    return {
        **incoming.data,
        "actor": incoming.actor.get("id"),
        "actor_type": incoming.actor.get("type"),
        "conversation": incoming.external_conversation,
        "thread": incoming.thread,
        "source": incoming.trigger_source,
        "text": incoming.input.get("text"),
    }


def _admit_new(
    incoming: Incoming, agent: Agent | None, binding: AgentBinding | None, reason: str
) -> Admitted:
    if agent is None:
        event = _log_event(incoming, None, EventOutcome.IGNORED, reason)
        return Admitted("ignored", event)
    conversation, is_new = _locked_conversation(incoming, agent)
    if not is_new and _is_busy(conversation):
        return _enqueue(incoming, conversation, agent, binding)
    event = _log_event(incoming, conversation, EventOutcome.STARTED)
    run = open_turn(conversation, Turn(event, agent, binding, dry_run=incoming.dry_run))
    wake_runs([run.pk])
    return Admitted("started", event, conversation, run)


def _is_busy(conversation: Conversation) -> bool:
    live = AgentRun.objects.live().filter(conversation=conversation)
    return live.exists() or _waiting(conversation).exists()


def _waiting(conversation: Conversation) -> QuerySet[QueuedMessage]:
    return conversation.queue.filter(status=QueuedStatus.QUEUED)


def _enqueue(
    incoming: Incoming,
    conversation: Conversation,
    agent: Agent,
    binding: AgentBinding | None,
) -> Admitted:
    waiting = _waiting(conversation).count()
    if waiting >= limits().follow_ups:
        raise QueueFullError(waiting, limits().follow_ups)
    event = _log_event(incoming, conversation, EventOutcome.QUEUED)
    message = QueuedMessage.objects.create(
        conversation=conversation,
        event=event,
        agent=agent,
        binding=binding,
        dry_run=incoming.dry_run,
    )
    live = AgentRun.objects.live().filter(conversation=conversation).first()
    return Admitted("queued", event, conversation, None, message, waiting + 1, live)


def _locked_conversation(incoming: Incoming, agent: Agent) -> tuple[Conversation, bool]:
    """Return the locked row, and whether this transaction has made it."""
    rows = Conversation.objects.all()
    if incoming.conversation is not None:
        return lock_rows(rows.filter(pk=incoming.conversation.pk))[0], False
    key = conversation_key(incoming, agent)
    rows = rows.filter(workspace=incoming.workspace, key=key)
    known = lock_rows(rows)
    if known:
        return known[0], False
    created, is_new = Conversation.objects.get_or_create(
        workspace=incoming.workspace,
        key=key,
        defaults={
            "kind": ConversationKind.CHAT
            if incoming.external_conversation
            else ConversationKind.STATELESS,
            "bot_id": incoming.bot.public_id if incoming.bot else None,
            "external_id": incoming.external_conversation[:200],
            "thread": incoming.thread[:200],
            "actor_id": _session_actor(incoming, agent)[:200],
            "title": str(incoming.input.get("text") or "")[:80],
        },
    )
    # A row of this transaction is nobody else's yet.
    return (created, True) if is_new else (lock_rows(rows)[0], False)


def conversation_key(incoming: Incoming, agent: Agent) -> str:
    """Return the canonical string of bot, conversation, thread and, per actor, who.

    Threads of a channel and, where sessions are per actor, its people never share
    one, so they never wait for each other.
    """
    if not incoming.external_conversation:
        return f"event:{incoming.source}:{incoming.event_id}"[:_KEY_LENGTH]
    place = f"bot:{incoming.bot.public_id}" if incoming.bot else "api"
    parts = [
        place,
        quote(incoming.external_conversation, safe=""),
        quote(incoming.thread, safe=""),
        quote(_session_actor(incoming, agent), safe=""),
    ]
    key = "/".join(parts)
    if len(key) > _KEY_LENGTH:
        return f"{place}/sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return key


def _session_actor(incoming: Incoming, agent: Agent) -> str:
    if agent.session_scope != SessionScope.ACTOR:
        return ""
    return str(incoming.actor.get("id") or "")


def _log_event(
    incoming: Incoming,
    conversation: Conversation | None,
    outcome: EventOutcome,
    reason: str = "",
) -> EventLog:
    given = register_inputs(incoming.workspace, conversation, incoming.input)
    return EventLog.objects.create(
        workspace=incoming.workspace,
        source=incoming.source,
        event_id=incoming.event_id,
        type=incoming.type,
        time=incoming.time,
        bot_id=incoming.bot.public_id if incoming.bot else None,
        conversation=conversation,
        thread=incoming.thread[:200],
        actor=incoming.actor,
        subject=incoming.subject,
        input_summary=str(given.get("text") or "")[: limits().summary_characters],
        input=redact(given),
        data=incoming.data,
        delivery=incoming.delivery,
        raw_ref=incoming.raw_ref,
        metadata=incoming.metadata,
        trigger_source=incoming.trigger_source,
        source_event_type=incoming.source_event_type[:100],
        outcome=outcome,
        outcome_reason=reason[:500],
    )
