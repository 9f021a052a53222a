"""steering_pull: what people said while the run works (`wire.md` §6, LB-74)."""

from functools import partial
from typing import Any, Literal

from pydantic import Field

from runners.choices import EventType
from runners.engine.snapshot import said_in
from runners.host_api.calls import CallData, HostCall
from runners.ledger.fence import NewEvent
from runners.ledger.journal import once
from runners.ledger.steering import told
from runners.models import AgentRun, QueuedMessage
from runners.steering import (
    PULLED_AT_MOST,
    anything_waits,
    claim_messages,
    claimed_messages,
)


class Pull(CallData):
    mode: Literal["all", "one", "one-at-a-time", "one_at_a_time"] = "all"
    limit: int | None = Field(default=None, ge=1)


async def steering_pull(call: HostCall) -> dict[str, Any]:
    """Claim waiting messages for this run, once; returns `{"items": [...]}`."""
    data = call.read(Pull)
    most = PULLED_AT_MOST if data.mode == "all" else 1
    claim = partial(claim_messages, call.facts.pk, min(most, data.limit or most))
    if call.handle is not None:
        waits = await call.database(anything_waits, call.facts.conversation_id)
        if waits:
            await call.handle.written()  # the answers of tools that it stands behind
    # The journal keeps keys: what was said may hold files of several MiB.
    stored = await call.database(once, call.key, claim)
    if not stored["messages"]:
        return {"items": []}
    messages = await call.database(claimed_messages, stored["messages"])
    await call.tell(_injected(messages))
    return {"items": await call.database(_items, call.facts.runner_id, messages)}


def _injected(messages: list[QueuedMessage]) -> NewEvent:
    return NewEvent(EventType.STEERING_INJECTED, {"messages": told(messages)})


def _items(runner_id: str, messages: list[QueuedMessage]) -> list[dict[str, Any]]:
    return [_item(runner_id, message) for message in messages]


def _item(runner_id: str, message: QueuedMessage) -> dict[str, Any]:
    """Return a message as the run's context would tell it (wire 5.2)."""
    conversation, run, at = message.conversation, message.run, message.ended_at
    written = message.event.metadata
    said = AgentRun(
        event=message.event,
        conversation=conversation,
        workspace=conversation.workspace,
        bot_id=message.event.bot_id,
    )
    return {
        "claimed_run_id": str(run.public_id) if run is not None else "",
        "runner_id": runner_id,
        "claimed_at": int(at.timestamp()) if at is not None else None,
        **said_in(said),
        "metadata": {
            **(written if isinstance(written, dict) else {}),
            "message_id": str(message.public_id),
            "mode": message.mode,
        },
    }
