"""The one way in: an event becomes a run, a queued message, or a recorded fact.

Idle or busy is decided under the conversation's lock, in one transaction that
writes the event, its transcript row and its run or queue entry together.
"""

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from django.db.models import BigIntegerField, CharField
from django.utils.translation import gettext

from agents.choices import BindingScope, SessionScope
from agents.matching import AmbiguousBindingError, Candidate, resolve
from agents.models import Agent, AgentBinding
from agents.policies import expire_seconds
from artifacts.inputs import register_inputs
from langbot.lib.conf import limits
from langbot.lib.group_commit import committed_together
from langbot.lib.models import locking
from langbot.lib.prepared import PreparedInsert, PreparedQuery
from langbot.lib.redaction import redact
from runners.busy import Place, is_busy, meet, place_at, place_for, repeated
from runners.choices import ConversationKind, EventOutcome
from runners.conversations import KEY_LENGTH, place_key
from runners.errors import (
    AgentUnavailableError,
    EmptyMessageError,
    InputTooLargeError,
    NotSteerableError,
)
from runners.follow_ups import count_follow_up
from runners.incoming import BotRef, Incoming, with_stored_files
from runners.ledger.turns import Turn, open_turn, title_of
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage
from runners.resets import begin_anew, is_expired
from runners.signals import tell_event_received
from runners.spending import check_admission
from runners.wakes import wake_runs

MESSAGE = "message.received"

# The agent that answers with its binding, or why nobody does.
Answerer = tuple[Agent | None, AgentBinding | None, str]


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
    buffer_limit: int = 0


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
    if not text.strip() and _says_nothing(incoming):
        raise EmptyMessageError
    known = None if incoming.is_first else _known(incoming)
    if known is not None:
        return known
    answerer = _responsible(incoming)
    try:
        return _admit_counted(with_stored_files(incoming), answerer)
    except IntegrityError:
        known = _known(incoming)  # another copy of the event won the race
        if known is None:
            raise
        return known


def _check_budget(incoming: Incoming, agent: Agent) -> None:
    """Raise BudgetUsedUpError: no turn begins that nothing is left for.

    Whoever meets a busy conversation is told of that first, or waits (AG-02); calls of
    the turn that is begun with it are checked like all others.
    """
    bot_id = incoming.bot.public_id if incoming.bot else None
    place = incoming.workspace.pk, agent.pk, bot_id
    check_admission(*place, incoming.actor, incoming.person)


def _says_nothing(incoming: Incoming) -> bool:
    """Whether it is a message with a text that is blank, and with nothing else.

    A message without any `text` is an event that brings its own data.
    """
    given = incoming.input
    is_message = incoming.type == MESSAGE and "text" in given
    return is_message and not (given.get("contents") or given.get("attachments"))


def _admit_counted(incoming: Incoming, answerer: Answerer) -> Admitted:
    """Admit a new event; a follow-up of a person is counted between two tries.

    Only the lock tells that it is one, and nobody waits for Redis under it.
    """
    person = _person(incoming)
    admitted = _admit_new(incoming, answerer, may_queue=person is None)
    if admitted is None and person is not None:
        count_follow_up(person)
        admitted = _admit_new(incoming, answerer, may_queue=True)
    assert admitted is not None  # noqa: S101  None only where it may not queue
    tell_event_received(admitted.event, admitted.status, admitted.run)
    return admitted


def _person(incoming: Incoming) -> str | None:
    """Return who speaks, named across conversations; None where nobody is counted."""
    if incoming.is_internal or not incoming.actor.get("id"):
        return None
    bot = incoming.bot.public_id if incoming.bot else "api"
    return f"{incoming.workspace.public_id}:{bot}:{incoming.actor['id']}"


_same_event = PreparedQuery(
    lambda workspace, source, event_id: EventLog.objects.select_related(
        "conversation"
    ).filter(workspace=workspace, source=source, event_id=event_id),
    BigIntegerField(),
    CharField(),
    CharField(),
)


def _known(incoming: Incoming) -> Admitted | None:
    event = _same_event.first(incoming.workspace.pk, incoming.source, incoming.event_id)
    return None if event is None else _duplicate(event)


def _duplicate(event: EventLog) -> Admitted:
    """Return what became of an event; its run may have been begun by another one."""
    message = QueuedMessage.objects.filter(event=event).select_related("run").first()
    run = event.runs.order_by("-attempt").first()
    if run is None and message is not None:
        run = message.run
    return Admitted("duplicate", event, event.conversation, run, message)


def _responsible(incoming: Incoming) -> Answerer:
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


@committed_together
def _admit_new(
    incoming: Incoming, answerer: Answerer, *, may_queue: bool
) -> Admitted | None:
    """Write an event and what it becomes; None when it would have to queue."""
    agent, binding, reason = answerer
    if agent is None:
        event = _log_event(incoming, None, EventOutcome.IGNORED, reason)
        return Admitted("ignored", event)
    conversation, is_new = _locked_conversation(incoming, agent)
    if not is_new and is_busy(conversation):
        return _follow_up(incoming, conversation, agent, binding, may_queue=may_queue)
    if incoming.steers is not None:
        raise NotSteerableError
    _check_budget(incoming, agent)
    silence = expire_seconds(
        agent.state_policy, binding.state_policy if binding is not None else None
    )
    if silence and not is_new and is_expired(conversation, silence):
        begin_anew(conversation)
    event = _log_event(incoming, conversation, EventOutcome.STARTED)
    turn = Turn(event, agent, binding, dry_run=incoming.dry_run)
    is_counted = is_new and conversation.transcript_seq > 0
    run = open_turn(conversation, turn, is_counted=is_counted)
    wake_runs([run.pk])
    return Admitted("started", event, conversation, run)


def _follow_up(
    incoming: Incoming,
    conversation: Conversation,
    agent: Agent,
    binding: AgentBinding | None,
    *,
    may_queue: bool,
) -> Admitted | None:
    """Do what the agent does with a message that meets others (`runners.busy`)."""
    known = None
    if incoming.is_first and incoming.type == MESSAGE:
        known = repeated(conversation, incoming.input, incoming.actor)
    if known is not None:
        return _duplicate(known)
    if incoming.steers is not None:
        place = place_at(conversation, incoming.steers)
    else:
        is_message = incoming.type == MESSAGE
        place = place_for(
            conversation, agent, is_message=is_message, dry_run=incoming.dry_run
        )
    answerer = agent, binding
    return _wait_at(place, incoming, conversation, answerer) if may_queue else None


def _wait_at(
    place: Place,
    incoming: Incoming,
    conversation: Conversation,
    answerer: tuple[Agent, AgentBinding | None],
) -> Admitted:
    event = _log_event(incoming, conversation, EventOutcome.QUEUED)
    message = QueuedMessage.objects.create(
        conversation=conversation,
        event=event,
        agent=answerer[0],
        binding=answerer[1],
        dry_run=incoming.dry_run,
        mode=place.mode,
        meets=place.live.pk if place.live is not None else None,
    )
    run = meet(message, place)
    status = "queued" if run is None else "started"
    admitted = Admitted(status, event, conversation, run, message, place.waiting + 1)
    admitted.live_run, admitted.buffer_limit = place.live, place.maximum
    return admitted


_locked_by_id = PreparedQuery(
    lambda key: locking(Conversation.objects.filter(pk=key)), BigIntegerField()
)
_locked_by_key = PreparedQuery(
    lambda workspace, key: locking(
        Conversation.objects.filter(workspace=workspace, key=key)
    ),
    BigIntegerField(),
    CharField(),
)
_insert_unless_known = PreparedInsert(Conversation, unless_conflict=True)


def _locked_conversation(incoming: Incoming, agent: Agent) -> tuple[Conversation, bool]:
    """Return the locked row, and whether this transaction has made it."""
    if incoming.conversation is not None:
        return _locked_by_id(incoming.conversation.pk)[0], False
    place = incoming.workspace.pk, conversation_key(incoming, agent)
    known = _locked_by_key(*place)
    if known:
        return known[0], False
    created = _new_conversation(incoming, agent, place[1])
    _insert_unless_known([created])
    # A row of this transaction is nobody else's yet.
    return (created, True) if created.pk else (_locked_by_key(*place)[0], False)


def _new_conversation(incoming: Incoming, agent: Agent, key: str) -> Conversation:
    is_chat = bool(incoming.external_conversation)
    return Conversation(
        workspace=incoming.workspace,
        key=key,
        kind=ConversationKind.CHAT if is_chat else ConversationKind.STATELESS,
        bot_id=incoming.bot.public_id if incoming.bot else None,
        external_id=incoming.external_conversation[:200],
        thread=incoming.thread[:200],
        actor_id=_session_actor(incoming, agent)[:200],
        title=title_of(incoming.input),
        # Its first message is written with it.
        transcript_seq=1 if incoming.type == MESSAGE else 0,
    )


def conversation_key(incoming: Incoming, agent: Agent) -> str:
    """Return the canonical string of bot, conversation, thread and, per actor, who.

    Threads of a channel and, where sessions are per actor, its people never share
    one, so they never wait for each other.
    """
    if not incoming.external_conversation:
        return f"event:{incoming.source}:{incoming.event_id}"[:KEY_LENGTH]
    place = f"bot:{incoming.bot.public_id}" if incoming.bot else "api"
    return place_key(
        place,
        incoming.external_conversation,
        incoming.thread,
        _session_actor(incoming, agent),
    )


def _session_actor(incoming: Incoming, agent: Agent) -> str:
    if agent.session_scope != SessionScope.ACTOR:
        return ""
    return str(incoming.actor.get("id") or "")


_insert_events = PreparedInsert(EventLog)


def _log_event(
    incoming: Incoming,
    conversation: Conversation | None,
    outcome: EventOutcome,
    reason: str = "",
) -> EventLog:
    assert incoming.files is not None  # noqa: S101  `admit` has stored them
    given = register_inputs(conversation, incoming.files)
    event = EventLog(
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
    _insert_events([event])
    return event


__all__ = ["MESSAGE", "Admitted", "BotRef", "Incoming", "admit", "conversation_key"]
