"""Closing a turn: the reply's rows, its delivery and the next queued message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext

from langbot.lib.conf import limits
from langbot.lib.prepared import PreparedInsert, PreparedLookup
from runners.choices import (
    EventOutcome,
    QueuedStatus,
    Role,
    RunStatus,
)
from runners.ledger.conversations import Conversation, QueuedMessage, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.outbox import Delivery, new_delivery
from runners.ledger.runs import AgentRun
from runners.ledger.turns import Turn, append_transcripts, open_turn
from runners.signals import tell_run_finished


@dataclass(slots=True)
class Reply:
    """What the assistant said in a run; incomplete when the run did not complete."""

    text: str
    content: Any = None
    complete: bool = True
    artifact_refs: list[Any] = field(default_factory=list)


_READ = (
    "public_id",
    "workspace_id",
    "conversation_id",
    "agent_id",
    "bot_id",
    "status",
    "error_code",
    "dry_run",
    "snapshot",
    "event__delivery",
)

_closing_runs = PreparedLookup(
    lambda keys: (
        AgentRun.objects.select_related("event")
        .only(*_READ)
        .filter(pk__in=keys)
        .order_by()
    )
)
_waiting_messages = PreparedLookup(
    lambda keys: (
        QueuedMessage.objects.waiting()
        .select_related("event", "agent", "binding")
        .filter(conversation__id__in=keys)
        .order_by("pk")
    )
)
_insert_deliveries = PreparedInsert(Delivery)
_insert_events = PreparedInsert(EventLog)


def close_turns(
    closed: Sequence[tuple[int, Reply | None]],
    conversations: Mapping[int, Conversation],
) -> tuple[list[int], list[int]]:
    """Write what follows the end of runs; returns (promoted run ids, delivery ids).

    Runs in the finish transaction, with the conversations' rows locked.
    """
    if not closed:
        return [], []
    replies = dict(closed)
    runs = sorted(_closing_runs(list(replies)), key=lambda run: run.pk)
    closing = [
        Closing(run, conversations[run.conversation_id], replies[run.pk])
        for run in runs
    ]
    _write_replies(closing)
    for one in closing:
        tell_run_finished(one.run)
    deliveries = [one for one in map(_reply_delivery, closing) if one is not None]
    _insert_deliveries(deliveries)
    return _promote(conversations), [delivery.pk for delivery in deliveries]


@dataclass(frozen=True, slots=True)
class Closing:
    """A run that has just ended, and what it said."""

    run: AgentRun
    conversation: Conversation
    reply: Reply | None

    @property
    def is_failure(self) -> bool:
        """Whether people have to be told that there is no whole answer."""
        return self.run.status not in {RunStatus.COMPLETED, RunStatus.CANCELLED}


def _write_replies(closing: Sequence[Closing]) -> None:
    spoken = [
        (one, one.reply)
        for one in closing
        if one.reply is not None and (one.reply.text or one.reply.artifact_refs)
    ]
    sent = [_sent_event(one, reply) for one, reply in spoken]
    _insert_events(sent)
    items = [
        (one.conversation, _reply_item(one, reply, event))
        for (one, reply), event in zip(spoken, sent, strict=True)
    ]
    # A failed turn always leaves a visible row (AG-41).
    items += [
        (one.conversation, _error_item(one.run)) for one in closing if one.is_failure
    ]
    append_transcripts(items)


def _sent_event(closing: Closing, reply: Reply) -> EventLog:
    run, conversation = closing.run, closing.conversation
    return EventLog(
        workspace_id=run.workspace_id,
        source=f"run:{run.public_id}",
        event_id=f"{run.public_id}:reply",
        type="message.sent",
        time=datetime.now(UTC),
        bot_id=run.bot_id,
        conversation=conversation,
        thread=conversation.thread,
        actor={"type": "agent", "id": str(run.agent_id)},
        input_summary=reply.text[: limits().summary_characters],
        trigger_source="system",
        outcome=EventOutcome.RECORDED,
    )


def _reply_item(closing: Closing, reply: Reply, event: EventLog) -> TranscriptItem:
    return TranscriptItem(
        role=Role.ASSISTANT,
        text=reply.text[: limits().transcript_characters],
        content=reply.content or [{"type": "text", "text": reply.text}],
        artifact_refs=reply.artifact_refs,
        event=event,
        run=closing.run,
        metadata={} if reply.complete else {"incomplete": True},
    )


def _error_item(run: AgentRun) -> TranscriptItem:
    return TranscriptItem(
        role=Role.SYSTEM,
        item_type="error",
        text=failure_text(run),
        run=run,
        metadata={"code": run.error_code},
    )


def failure_text(run: AgentRun) -> str:
    """Return what people in the chat read when a run did not complete."""
    return gettext("Sorry, I could not answer (%(code)s).") % {
        "code": run.error_code or run.status
    }


def _reply_delivery(closing: Closing) -> Delivery | None:
    run, conversation, reply = closing.run, closing.conversation, closing.reply
    policy = (run.snapshot or {}).get("delivery_policy", {})
    if run.bot_id is None or run.dry_run or not policy.get("reply", True):
        return None
    text = reply.text if reply else ""
    if closing.is_failure:
        text = f"{text}\n\n{failure_text(run)}".strip()
    if not text and not (reply and reply.artifact_refs):
        return None
    artifacts = reply.artifact_refs if reply else []
    return new_delivery(run, conversation, {"text": text, "artifacts": artifacts})


def _promote(conversations: Mapping[int, Conversation]) -> list[int]:
    waiting = _waiting_messages(list(conversations))
    first: dict[int, QueuedMessage] = {}
    for message in waiting:
        first.setdefault(message.conversation_id, message)
    return [
        _promote_one(conversations[conversation_id], message)
        for conversation_id, message in first.items()
    ]


def _promote_one(conversation: Conversation, message: QueuedMessage) -> int:
    turn = Turn(message.event, message.agent, message.binding, dry_run=message.dry_run)
    run = open_turn(conversation, turn)
    QueuedMessage.objects.filter(pk=message.pk).update(
        status=QueuedStatus.PROMOTED, run=run, ended_at=datetime.now(UTC)
    )
    return run.pk
