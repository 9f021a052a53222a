"""What an agent says while its run goes on: transcript, event and delivery in one.

Each function is an effect for `journal.once`: it locks the conversation, writes its
rows and leaves the commit to the journal, so that a repeated call says nothing twice.
Deliveries have keys and an order like every other: what is said comes before the reply
at the end of the run.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from langbot.lib.models import lock_rows
from runners.choices import DeliveryStatus
from runners.ledger.conversations import Conversation, TranscriptItem
from runners.ledger.events import EventLog
from runners.ledger.outbox import Delivery, new_delivery
from runners.ledger.runs import AgentRun
from runners.ledger.sent import assistant_item, sent_event, speaker_of
from runners.ledger.turn_rows import calls_tools, turn_items
from runners.ledger.turns import append_transcripts
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.wakes import wake_deliveries

# Platforms count edits; the last text always goes out.
EDIT_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """One message. `key` names it within its run; the same key is said once.

    `payload` is for platforms that know more than text: a message chain, a quote.
    """

    key: str
    text: str
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    payload: dict[str, Any] = field(default_factory=dict)
    is_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes when it is not the run's own conversation."""

    conversation_id: int
    bot_id: UUID


def say(run_id: int, saying: Saying, place: Place | None = None) -> dict[str, Any]:
    """Say something now; returns `{"message_id", "delivery_id", "status"}`.

    A run without a bot, and a dry run, has its transcript only: `recorded` instead of
    `queued`. Raises ProtocolError `conflict` for a key that was used.
    """
    run, conversation = _locked(run_id, place)
    sender = place.bot_id if place is not None else run.bot_id
    item = _record(run, conversation, saying, sender)
    if not _is_delivered(run, place):
        return _answer(item, None)
    payload = _payload(saying)
    delivery = new_delivery(run, conversation, payload, sender)
    delivery.save(force_insert=True)
    wake_deliveries([delivery.pk])
    return _answer(item, delivery)


def show(run_id: int, stream: str, text: str) -> dict[str, Any]:
    """Show the text so far of a reply that grows, where messages can be edited.

    At most one edit waits at a time, and one a second is made.
    """
    run, conversation = _locked(run_id, None)
    if _was_said(run, stream):
        raise _ended()
    if not _is_delivered(run, None):
        return {"status": "recorded"}
    shown = _shown(run, stream)
    if shown and shown[-1].created_at > datetime.now(UTC) - EDIT_PAUSE:
        return {"status": "later"}
    _put(run, conversation, shown, {"text": text, "artifacts": [], "stream": stream})
    return {"status": "queued"}


def finish(run_id: int, saying: Saying) -> dict[str, Any]:
    """Say the whole of a reply that may have been shown before."""
    run, conversation = _locked(run_id, None)
    item = _record(run, conversation, saying, run.bot_id)
    if not _is_delivered(run, None):
        return _answer(item, None)
    payload = {**_payload(saying), "stream": saying.key}
    return _answer(item, _put(run, conversation, _shown(run, saying.key), payload))


def shown_text(run_id: int, stream: str) -> str:
    """Return what people see of a reply that was not finished; empty for nothing."""
    last = _deliveries(run_id, stream).last()
    return str(last.payload.get("text") or "") if last is not None else ""


def _locked(run_id: int, place: Place | None) -> tuple[AgentRun, Conversation]:
    run = AgentRun.objects.select_related("event").get(pk=run_id)
    key = place.conversation_id if place is not None else run.conversation_id
    return run, lock_rows(Conversation.objects.filter(pk=key))[0]


def _record(
    run: AgentRun, conversation: Conversation, saying: Saying, sender: UUID | None
) -> TranscriptItem:
    if _was_said(run, saying.key):
        raise _ended()
    event_id = _event_id(run, saying.key)
    event = sent_event(conversation, speaker_of(run, sender), event_id, saying.text)
    event.save(force_insert=True)
    item = assistant_item(
        event,
        saying.text,
        run=run,
        artifacts=saying.artifacts,
        is_incomplete=saying.is_incomplete,
    )
    is_here = conversation.pk == run.conversation_id
    before = turn_items(run, with_tools=calls_tools(run)) if is_here else ()
    append_transcripts([(conversation, one) for one in (*before, item)])
    return item


def _was_said(run: AgentRun, key: str) -> bool:
    said = EventLog.objects.filter(
        workspace_id=run.workspace_id,
        source=speaker_of(run).source,
        event_id=_event_id(run, key),
    )
    return said.exists()


def _event_id(run: AgentRun, key: str) -> str:
    return f"{run.public_id}:{key}"


def _is_delivered(run: AgentRun, place: Place | None) -> bool:
    return not run.dry_run and (place is not None or run.bot_id is not None)


def _payload(saying: Saying) -> dict[str, Any]:
    return {"text": saying.text, "artifacts": saying.artifacts, **saying.payload}


def _shown(run: AgentRun, stream: str) -> list[Delivery]:
    return list(_deliveries(run.pk, stream))


def _deliveries(run_id: int, stream: str) -> Any:
    rows = Delivery.objects.filter(run_id=run_id, payload__stream=stream)
    return rows.order_by("pk")


def _put(
    run: AgentRun,
    conversation: Conversation,
    shown: list[Delivery],
    payload: dict[str, Any],
) -> Delivery:
    """Replace what still waits to be sent, else send an edit of what was."""
    if shown:
        last = shown[-1]
        merged = {**last.payload, **payload}
        waiting = Delivery.objects.filter(
            pk=last.pk, status=DeliveryStatus.PENDING, attempts=0
        )
        if waiting.update(payload=merged):
            return last
        payload = {**payload, "edit_of": str(shown[0].public_id)}
    delivery = new_delivery(run, conversation, payload)
    delivery.save(force_insert=True)
    wake_deliveries([delivery.pk])
    return delivery


def _answer(item: TranscriptItem, delivery: Delivery | None) -> dict[str, Any]:
    return {
        "message_id": str(item.public_id),
        "delivery_id": str(delivery.public_id) if delivery is not None else None,
        "status": "queued" if delivery is not None else "recorded",
    }


def _ended() -> ProtocolError:
    return ProtocolError(ErrorCode.CONFLICT, "this reply has ended")
