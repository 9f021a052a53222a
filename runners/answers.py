"""What a sender learns about its message: the contract's one answer shape.

REST, the web chat and commands all build it here.
"""

import asyncio
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.db.models import Q

from langbot.lib.conf import limits
from runners.admission import Admitted
from runners.choices import QueuedStatus, Role
from runners.live import follow_batches
from runners.live_hub import db
from runners.models import AgentRun, QueuedMessage, TranscriptItem

_PAUSE_SECONDS = 0.25  # between two looks at a message that nobody works on


def answer_for(admitted: Admitted) -> dict[str, Any]:
    """Return the answer shape; `message_id` is what `queued/` and `pending/` take."""
    run, conversation = admitted.run, admitted.conversation
    answer: dict[str, Any] = {
        "status": admitted.status,
        "run_id": str(run.public_id) if run else None,
        "message_id": str((admitted.message or admitted.event).public_id),
        "conversation": str(conversation.public_id) if conversation else None,
    }
    if admitted.status == "queued":
        live = admitted.live_run
        answer |= {
            "buffer_length": admitted.buffer_length,
            "max_buffer_length": admitted.buffer_limit or limits().follow_ups,
            "turn_in_flight": str(live.public_id) if live else None,
        }
    if admitted.status == "ignored":
        answer["reason"] = admitted.event.outcome_reason
    return answer


def find_message(message_id: UUID) -> QueuedMessage | None:
    """Return the queued message of this id, or of the event of this id."""
    return (
        QueuedMessage.objects.select_related("run", "conversation", "event")
        .filter(Q(public_id=message_id) | Q(event__public_id=message_id))
        .first()
    )


def reply_of(run_id: UUID) -> dict[str, Any] | None:
    """Return `{"text", "status", "artifacts"}` of an ended run, None before."""
    run = AgentRun.objects.filter(public_id=run_id).first()
    if run is None or not run.is_terminal:
        return None
    said = TranscriptItem.objects.filter(run=run, role=Role.ASSISTANT)
    items = said.filter(item_type="message").order_by("seq")
    reply: dict[str, Any] = {"text": "", "status": str(run.status), "artifacts": []}
    texts = []
    for item in items:
        texts.append(full_text(item))
        reply["artifacts"] += item.artifact_refs
    reply["text"] = "\n\n".join(filter(None, texts))
    if run.error_code:
        reply["error"] = {
            "code": run.error_code,
            "message": run.status_reason,
            "retryable": run.retryable,
        }
    return reply


def full_text(item: TranscriptItem) -> str:
    """Return a message's whole text; the `text` column is cut for lists (LB-90)."""
    parts = item.content if isinstance(item.content, list) else []
    texts = [
        str(part.get("text") or "")
        for part in parts
        if isinstance(part, dict) and part.get("type") == "text"
    ]
    return "".join(texts) or item.text


async def run_of(answer: dict[str, Any]) -> UUID | None:
    """Return the run that answers a message, waiting while it is queued.

    None when there will be none: it was ignored, or a person cancelled it.
    """
    if answer["run_id"] is not None:
        return UUID(answer["run_id"])
    while True:
        run_id, status, busy_with = await db(_progress, UUID(answer["message_id"]))
        if run_id is not None or status != QueuedStatus.QUEUED:
            return run_id
        if busy_with is None:
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            await _wait_for_end(busy_with)


async def wait_for_reply(
    answer: dict[str, Any], seconds: float
) -> dict[str, Any] | None:
    """Return the reply to a message, or None when the time is up first."""
    try:
        async with asyncio.timeout(seconds):
            run_id = await run_of(answer)
            if run_id is None:
                return {"text": "", "status": "cancelled", "artifacts": []}
            while True:
                reply = await db(reply_of, run_id)
                if reply is not None:
                    return reply
                await _wait_for_end(run_id)
    except TimeoutError:
        return None


def _progress(message_id: UUID) -> tuple[UUID | None, str, UUID | None]:
    """Return (run, status, the run that the message waits for)."""
    message = find_message(message_id)
    if message is None:
        return None, QueuedStatus.CANCELLED, None
    run_id = message.run.public_id if message.run else None
    live = AgentRun.objects.live().filter(conversation=message.conversation).first()
    return run_id, message.status, live.public_id if live else None


async def _wait_for_end(run_id: UUID) -> None:
    after = await db(_last_seq, run_id)
    async with aclosing(follow_batches(run_id, after)) as batches:
        async for _batch in batches:
            pass


def _last_seq(run_id: UUID) -> int:
    found = AgentRun.objects.filter(public_id=run_id).values_list("last_seq", flat=True)
    return found.first() or 0
