"""Closing a turn: the reply's rows, its delivery and the next queued message."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext

from agents.policies import APPROVALS
from langbot.lib.prepared import PreparedInsert, PreparedLookup
from runners.choices import (
    ERROR,
    STOP_TEXT,
    STOPPED,
    Role,
    RunStatus,
)
from runners.ledger.children import stop_after
from runners.ledger.conversations import Conversation, QueuedMessage, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.frozen import frozen_delivery
from runners.ledger.next_turns import (
    by_conversation,
    is_rolled_back,
    open_next_turns,
)
from runners.ledger.outbox import Delivery, new_delivery
from runners.ledger.pausing import cancel_open
from runners.ledger.runs import AgentRun
from runners.ledger.sent import assistant_item, sent_event, speaker_of
from runners.ledger.turn_rows import (
    calls_tools,
    has_rows_meanwhile,
    thought_item,
    turn_items,
)
from runners.ledger.turns import append_transcripts
from runners.protocol.errors import ErrorCode
from runners.signals import tell_run_finished


@dataclass(slots=True)
class Reply:
    """What the assistant said in a run; incomplete when the run did not complete."""

    text: str
    content: Any = None
    complete: bool = True
    artifact_refs: list[Any] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)  # a row each (AG-61)


_READ = (
    "public_id",
    "workspace_id",
    "conversation_id",
    "agent_id",
    "bot_id",
    "status",
    "error_code",
    "dry_run",
    "invocation",
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
    waiting = by_conversation(_waiting_messages(list(conversations)))
    closing = [
        Closing(
            run,
            conversations[run.conversation_id],
            replies[run.pk],
            is_forgotten=is_rolled_back(run.pk, waiting.get(run.conversation_id, ())),
        )
        for run in runs
    ]
    _write_replies(closing)
    _leave(closing)
    deliveries = [one for one in map(_reply_delivery, closing) if one is not None]
    _insert_deliveries(deliveries)
    promoted = open_next_turns(conversations, waiting)
    return promoted, [delivery.pk for delivery in deliveries]


def _leave(closing: "Sequence[Closing]") -> None:
    """Settle what the runs leave behind: their turn, approvals and sub-runs."""
    for one in closing:
        if one.is_forgotten:
            _forget(one)
    cancel_open(one.run.pk for one in closing if one.closes_approvals)
    for one in closing:
        stop_after(one.run)
        tell_run_finished(one.run)


@dataclass(frozen=True, slots=True)
class Closing:
    """A run that has just ended, and what it said; a forgotten one is not sent."""

    run: AgentRun
    conversation: Conversation
    reply: Reply | None
    is_forgotten: bool = False

    @property
    def closes_approvals(self) -> bool:
        """Whether approvals may be open that nobody has to decide about any more."""
        kept = self.run.error_code == ErrorCode.APPROVAL_NOT_RESUMABLE
        return APPROVALS in (self.run.snapshot or {}) and not kept

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
        (one.conversation, item)
        for one in closing
        for item in turn_rows(one.run, one.reply)
    ]
    items += [
        (one.conversation, _reply_item(one, reply, event))
        for (one, reply), event in zip(spoken, sent, strict=True)
    ]
    # A failed turn always leaves a visible row (AG-41).
    items += [
        (one.conversation, _error_item(one.run)) for one in closing if one.is_failure
    ]
    items += [
        (one.conversation, _stop_item(one.run))
        for one in closing
        if one.run.status == RunStatus.CANCELLED
    ]
    append_transcripts(items)


def turn_rows(run: AgentRun, reply: Reply | None) -> Iterable[TranscriptItem]:
    """Return new rows of thoughts and tool calls, in their order.

    The ledger is asked only where something may stand between them.
    """
    thoughts = reply.thoughts if reply is not None else []
    if calls_tools(run) or (thoughts and has_rows_meanwhile(run)):
        return turn_items(run, with_tools=calls_tools(run))
    return [thought_item(run, one, block=n) for n, one in enumerate(thoughts, 1)]


def _sent_event(closing: Closing, reply: Reply) -> EventLog:
    event_id = f"{closing.run.public_id}:reply"
    speaker = speaker_of(closing.run)
    return sent_event(closing.conversation, speaker, event_id, reply.text)


def _reply_item(closing: Closing, reply: Reply, event: EventLog) -> TranscriptItem:
    return assistant_item(
        event,
        reply.text,
        run=closing.run,
        content=reply.content,
        artifacts=reply.artifact_refs,
        is_incomplete=not reply.complete,
    )


def _stop_item(run: AgentRun) -> TranscriptItem:
    return TranscriptItem(role=Role.SYSTEM, item_type=STOPPED, text=STOP_TEXT, run=run)


def _error_item(run: AgentRun) -> TranscriptItem:
    return TranscriptItem(
        role=Role.SYSTEM,
        item_type=ERROR,
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
    if run.bot_id is None or run.dry_run:
        return None
    if not frozen_delivery(run).get("reply", True):
        return None
    if closing.is_forgotten:
        return None
    text = reply.text if reply else ""
    if closing.is_failure:
        text = f"{text}\n\n{failure_text(run)}".strip()
    if not text and not (reply and reply.artifact_refs):
        return None
    artifacts = reply.artifact_refs if reply else []
    return new_delivery(run, conversation, {"text": text, "artifacts": artifacts})


def _forget(closing: Closing) -> None:
    """Take a turn out of context and pages; the ledger keeps it (rollback)."""
    run = closing.run
    # A retry's message was written for the attempt before.
    turn = Q(run=run.pk) | Q(event=run.event_id, role=Role.USER)
    rows = TranscriptItem.objects.filter(conversation=closing.conversation.pk)
    rows.filter(turn).supersede()
