"""Opening a turn: the user's transcript row, the run and its first ledger event."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agents.models import Agent, AgentBinding
from langbot.lib.conf import limits
from langbot.lib.prepared import PreparedInsert, PreparedUpdate
from runners.choices import EventType, Role, RunStatus
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.fence import NewEvent, insert_events
from runners.ledger.lineage import lineage_of
from runners.ledger.metadata import note_metadata
from runners.ledger.runs import AgentRun

DEFAULT_QUEUE = "default"  # what people call the queue without a name
_QUEUE_CHARACTERS = 50
_MOST_PRIORITY = 100
_TITLE_CHARACTERS = 80

_insert_runs = PreparedInsert(AgentRun)
_insert_items = PreparedInsert(TranscriptItem)
_count_items = PreparedUpdate(Conversation, "transcript_seq", "updated_at")


@dataclass(slots=True)
class Turn:
    """An event and who answers it; `said_before` are messages that it answers, too."""

    event: EventLog
    agent: Agent
    binding: AgentBinding | None = None
    dry_run: bool = False
    said_before: list[EventLog] = field(default_factory=list)


def open_turn(
    conversation: Conversation, turn: Turn, *, is_counted: bool = False
) -> AgentRun:
    """Write the rows of a new queued run; the conversation's row must be locked.

    `is_counted`: what the event says is the one item that the conversation has been
    made with. The caller wakes a worker with the returned run.
    """
    run = AgentRun(
        workspace_id=conversation.workspace_id,
        conversation=conversation,
        event=turn.event,
        binding=turn.binding,
        agent=turn.agent,
        agent_version=turn.agent.version,
        runner_id=turn.agent.runner_id,
        bot_id=turn.event.bot_id,
        status=RunStatus.QUEUED,
        queued_at=datetime.now(UTC),
        dry_run=turn.dry_run,
        metadata=turn.event.metadata,
        last_seq=1,
        **dispatch_of(turn.event.metadata),
        **lineage_of(turn.event),
    )
    _insert_runs([run])
    note_metadata(run)
    insert_events([(run.pk, 1, 1, queued_event(run))])
    if is_counted:
        _insert_items([_first_item(conversation, turn, run)])
    else:
        _write_said(conversation, turn, run)
    return run


def _first_item(
    conversation: Conversation, turn: Turn, run: AgentRun
) -> TranscriptItem:
    item = user_item(turn.event, run)
    item.conversation, item.seq = conversation, conversation.transcript_seq
    return item


def _write_said(conversation: Conversation, turn: Turn, run: AgentRun) -> None:
    said = [one for one in (*turn.said_before, turn.event) if is_message(one)]
    if said and not conversation.title:
        name_after(conversation, said[0])
    if said:
        items = [_said_item(turn, one, run) for one in said]
        append_transcripts([(conversation, item) for item in items])


def _said_item(turn: Turn, event: EventLog, run: AgentRun) -> TranscriptItem:
    item = user_item(event, run)
    if event is not turn.event:  # else the run took it for its own past
        item.metadata = {"said_before": True}
    return item


def title_of(given: dict[str, Any]) -> str:
    """Return what a conversation is called that begins with these words."""
    return " ".join(str(given.get("text") or "").split())[:_TITLE_CHARACTERS]


def name_after(conversation: Conversation, event: EventLog) -> None:
    """Name a conversation that has no title after a message's first words."""
    conversation.title = title_of(event.input)
    if conversation.title:
        nameless = Conversation.objects.filter(pk=conversation.pk, title="")
        nameless.update(title=conversation.title)


def queued_event(run: AgentRun) -> NewEvent:
    """Return the first event of a run that `open_turn` has just made."""
    moment = run.queued_at or run.created_at
    return NewEvent(EventType.RUN_QUEUED, {}, created_at=moment)


def dispatch_of(metadata: Any) -> dict[str, Any]:
    """Return where a run waits, as its sender's metadata says.

    `queue_name` (at most 50 characters) is a queue that only remote runtimes take runs
    from, `priority` (-100 to 100) orders them there. What is no such value is ignored.
    """
    given = metadata if isinstance(metadata, dict) else {}
    wanted, urgency = given.get("queue_name"), given.get("priority")
    found: dict[str, Any] = {}
    if isinstance(wanted, str) and len(wanted) <= _QUEUE_CHARACTERS:
        found["queue_name"] = "" if wanted == DEFAULT_QUEUE else wanted
    if type(urgency) is int:
        found["priority"] = max(-_MOST_PRIORITY, min(urgency, _MOST_PRIORITY))
    return found


def is_message(event: EventLog) -> bool:
    """Whether the event is something a person said (LB-04, LB-64)."""
    return event.type == "message.received"


def user_item(event: EventLog, run: AgentRun) -> TranscriptItem:
    """Return the unsaved transcript row of a received message."""
    text = str(event.input.get("text") or "")
    return TranscriptItem(
        role=Role.USER,
        text=text[: limits().transcript_characters],
        content=event.input.get("contents") or [{"type": "text", "text": text}],
        artifact_refs=event.input.get("attachments") or [],
        event=event,
        run=run,
        actor_id=str(event.actor.get("id") or "")[:200],
        actor_name=str(event.actor.get("name") or "")[:200],
    )


def append_transcripts(items: Sequence[tuple[Conversation, TranscriptItem]]) -> None:
    """Give each item the next number of its locked conversation and save them."""
    for conversation, item in items:
        conversation.transcript_seq += 1
        item.conversation = conversation
        item.seq = conversation.transcript_seq
    _insert_items([item for _, item in items])
    for conversation in {one.pk: one for one, _ in items}.values():
        _count_items(conversation.pk, conversation.transcript_seq, datetime.now(UTC))
