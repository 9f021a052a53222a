"""What a message does in a conversation that is busy: who is under way, what waits.

A conversation is busy from the first message until nothing of it runs, is parked for a
person, or waits (C-46). The strategy of the agent that is to answer decides what a
second message does; its names are LangGraph's.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField

from agents.choices import MultitaskStrategy
from agents.models import Agent
from langbot.lib.conf import limits
from langbot.lib.prepared import PreparedQuery
from langbot.lib.redaction import redact
from runners.choices import HIDDEN_THOUGHT, THOUGHT, QueueMode, Role
from runners.errors import ConversationBusyError, NotSteerableError, QueueFullError
from runners.ledger.steering import announce, can_be_steered
from runners.models import (
    AgentRun,
    Conversation,
    EventLog,
    QueuedMessage,
    TranscriptItem,
)
from runners.services import request_cancel

_MODES = {
    MultitaskStrategy.ENQUEUE: QueueMode.ENQUEUE,
    MultitaskStrategy.INTERRUPT: QueueMode.INTERRUPT,
    MultitaskStrategy.ROLLBACK: QueueMode.ROLLBACK,
}
_FILES = ("contents", "attachments")
# Nobody has spoken by these.
_SILENT_ROWS = ("tool_call", "tool_result", THOUGHT, HIDDEN_THOUGHT)
_BLOCK_ROWS = 50  # of what was said last, in search of the same words

live_of = PreparedQuery(
    lambda conversation: (
        AgentRun.objects.live()
        .filter(conversation=conversation)
        .defer("snapshot")
        .order_by()[:1]
    ),
    BigIntegerField(),
)
_waiting_in = PreparedQuery(
    lambda conversation: (
        QueuedMessage.objects.waiting()
        .filter(conversation=conversation)
        .values_list("pk", "mode")
    ),
    BigIntegerField(),
)


def is_busy(conversation: Conversation) -> bool:
    """Whether a run of the conversation is live or a message waits in it."""
    return bool(live_of(conversation.pk) or _waiting_in(conversation.pk))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message may wait, and how many wait there with it."""

    mode: QueueMode
    live: AgentRun | None
    waiting: int
    maximum: int


def place_for(
    conversation: Conversation, agent: Agent, *, is_message: bool, dry_run: bool
) -> Place:
    """Return how a second event waits; the conversation's row must be locked.

    The strategy is about messages: any other event, an answer to a question among them
    (C-46), waits for its turn. Raises ConversationBusyError where the agent takes no
    second message, QueueFullError where too many wait.
    """
    live = live_of.first(conversation.pk)
    wanted = agent.multitask_strategy if is_message else MultitaskStrategy.ENQUEUE
    if wanted == MultitaskStrategy.REJECT:
        raise ConversationBusyError(live.public_id if live is not None else None)
    waiting = [mode for _key, mode in _waiting_in(conversation.pk)]
    mode = _MODES[MultitaskStrategy(wanted)]
    may_steer = mode == QueueMode.ENQUEUE and is_message and not dry_run
    if may_steer and live is not None and _takes_up(live, agent):
        return _beside_a_steered_run(live, waiting)
    if len(waiting) >= limits().follow_ups:
        raise QueueFullError(len(waiting), limits().follow_ups)
    return Place(mode, live, len(waiting), limits().follow_ups)


def place_at(conversation: Conversation, run: AgentRun) -> Place:
    """Return how a message waits that is meant for this very run.

    Raises NotSteerableError for a run that ended or takes nothing up, QueueFullError.
    """
    live = live_of.first(conversation.pk)
    if live is None or live.pk != run.pk or not can_be_steered(live):
        raise NotSteerableError
    waiting = [mode for _key, mode in _waiting_in(conversation.pk)]
    place = _beside_a_steered_run(live, waiting)
    if place.mode != QueueMode.STEERING:
        raise QueueFullError(place.waiting, limits().steered)
    return place


def _takes_up(live: AgentRun, agent: Agent) -> bool:
    return live.agent_id == agent.pk and not live.dry_run and can_be_steered(live)


def _beside_a_steered_run(live: AgentRun, waiting: list[str]) -> Place:
    """100 wait to be pulled (LB-83); what comes then waits for its turn (C-04)."""
    steered = waiting.count(QueueMode.STEERING)
    maximum = limits().steered + limits().follow_ups
    if steered < limits().steered and steered == len(waiting):
        return Place(QueueMode.STEERING, live, len(waiting), maximum)
    if len(waiting) - steered >= limits().follow_ups:
        raise QueueFullError(len(waiting), maximum)
    return Place(QueueMode.ENQUEUE, live, len(waiting), maximum)


def meet(message: QueuedMessage, place: Place) -> AgentRun | None:
    """Do to the live run what a message does that has just begun to wait.

    Call in its transaction. A run that no worker carries ends here, and the message's
    turn begins: that run is returned. A carried one keeps what it has said, and the
    turn begins when it has ended.
    """
    if place.live is None or place.mode == QueueMode.ENQUEUE:
        return None
    if place.mode == QueueMode.STEERING:
        announce(place.live, [message])
        return None
    request_cancel(place.live, f"{message.mode} by message {message.public_id}")
    message.refresh_from_db(fields=["status", "run"])
    return message.run


def repeated(
    conversation: Conversation, given: dict[str, Any], actor: dict[str, Any]
) -> EventLog | None:
    """Return the event that said the same just now and is not answered yet (AG-39).

    For messages without a key of their sender (C-03): what the same person said since
    the agent last spoke, in the running turn or waiting. A run that is being stopped
    answers nothing any more, so the same words are said again.
    """
    wanted = {**given, "text": redact({"text": given.get("text")})["text"]}
    if not str(wanted["text"] or "").strip():
        return None
    for event in _said_last(conversation):
        if event.actor.get("id") == actor.get("id") and _is_same(wanted, event.input):
            return event
    return None


def _said_last(conversation: Conversation) -> list[EventLog]:
    waiting = QueuedMessage.objects.waiting().filter(conversation=conversation)
    found = [message.event for message in waiting.select_related("event")]
    live = live_of.first(conversation.pk)
    if live is None or live.cancel_requested_at is not None:
        return found
    rows = TranscriptItem.objects.current().filter(conversation=conversation)
    for row in rows.select_related("event").order_by("-seq")[:_BLOCK_ROWS]:
        is_said = row.role == Role.USER
        if row.run_id != live.pk or not (is_said or row.item_type in _SILENT_ROWS):
            break
        if is_said and row.event is not None:
            found.append(row.event)
    return found


def _is_same(given: dict[str, Any], stored: dict[str, Any]) -> bool:
    return given["text"] == stored.get("text") and all(
        _are_same(given.get(name) or [], stored.get(name) or []) for name in _FILES
    )


def _are_same(given: Any, stored: Any) -> bool:
    """Whether every part was given before; bytes are kept elsewhere, and never are."""
    return len(given) == len(stored) and all(
        isinstance(one, dict) and one.items() <= kept.items()
        for one, kept in zip(given, stored, strict=True)
    )
