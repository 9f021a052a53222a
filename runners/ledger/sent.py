"""What agents do, as rows: the event of what a bot says or makes, and its line of
the transcript (C-26, LB-59). Such events are recorded and never admitted: no binding
sees them, and nothing answers them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from artifacts.made import MadeFile, reference_of
from langbot.lib.conf import limits
from runners.choices import EventOutcome, EventType, Role
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.lineage import SOURCE
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
    return Speaker(f"{SOURCE}{run.public_id}", actor, bot_id or run.bot_id)


def sent_event(
    conversation: Conversation, speaker: Speaker, event_id: str, text: str
) -> EventLog:
    """Return the unsaved event `message.sent`; the same id of a source once."""
    return _recorded(
        conversation, speaker, event_id=event_id, type="message.sent", summary=text
    )


def made_event(run: AgentRun, file: MadeFile) -> EventLog:
    """Return the unsaved event `artifact.created` of a file that a run has made.

    Its subject is the file, as the artifact calls name it; its bytes and what its
    runner notes of it are elsewhere.
    """
    artifact_id = str(file.public_id)
    event = _recorded(
        run.conversation,
        speaker_of(run),
        event_id=f"artifact:{artifact_id}",
        type=EventType.ARTIFACT_CREATED,
        summary=file.name or file.type,
    )
    event.subject = {"type": "artifact", "id": artifact_id}
    event.data = reference_of(file.described())
    return event


def _recorded(
    conversation: Conversation,
    speaker: Speaker,
    *,
    event_id: str,
    type: str,
    summary: str,
) -> EventLog:
    return EventLog(
        workspace_id=conversation.workspace_id,
        source=speaker.source,
        event_id=event_id,
        type=type,
        time=datetime.now(UTC),
        bot_id=speaker.bot_id,
        conversation=conversation,
        thread=conversation.thread,
        actor=speaker.actor,
        input_summary=summary[: limits().summary_characters],
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
