"""The two rows of what a bot says: its event and its line of the transcript (C-26)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langbot.lib.conf import limits
from runners.choices import EventOutcome, Role
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.runs import AgentRun


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says something: `source` and `actor` of the event, and the bot used."""

    source: str
    actor: dict[str, Any]
    bot_id: UUID | None


def speaker_of(run: AgentRun, bot_id: UUID | None = None) -> Speaker:
    """Return the agent of a run, speaking by the run's bot unless another is named."""
    actor = {"type": "agent", "id": str(run.agent_id)}
    return Speaker(f"run:{run.public_id}", actor, bot_id or run.bot_id)


def sent_event(
    conversation: Conversation, speaker: Speaker, event_id: str, text: str
) -> EventLog:
    """Return the unsaved event `message.sent`; the same id of a source once."""
    return EventLog(
        workspace_id=conversation.workspace_id,
        source=speaker.source,
        event_id=event_id,
        type="message.sent",
        time=datetime.now(UTC),
        bot_id=speaker.bot_id,
        conversation=conversation,
        thread=conversation.thread,
        actor=speaker.actor,
        input_summary=text[: limits().summary_characters],
        trigger_source="system",
        outcome=EventOutcome.RECORDED,
    )


def assistant_item(
    event: EventLog,
    text: str,
    *,
    run: AgentRun | None = None,
    content: Any = None,
    artifacts: Sequence[Any] = (),
    is_incomplete: bool = False,
) -> TranscriptItem:
    """Return the unsaved line of what `event` says was sent."""
    return TranscriptItem(
        role=Role.ASSISTANT,
        text=text[: limits().transcript_characters],
        content=content or [{"type": "text", "text": text}],
        artifact_refs=list(artifacts),
        event=event,
        run=run,
        metadata={"incomplete": True} if is_incomplete else {},
    )
