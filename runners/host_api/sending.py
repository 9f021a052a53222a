"""send_message without a run: a plugin with the control plane has a bot say something.

The message is a row of the outbox, so it is sent as any reply is: in order, with one
key over all attempts. It goes to the conversation that runs write to as well
(`runners.conversations`), whose event `message.sent` and transcript have it, but opens
none: runs may, where their policy grants it.

A connection's number of a request takes the place of the journal that runs have: the
key of the delivery and the id of the event are made of both, so that a call which
comes again on its connection says nothing twice and is answered as before.
"""

from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from pydantic import Field

from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from runners.conversations import known_conversation
from runners.host_api.calls import CallData, ConnectionCall
from runners.host_api.information import find_bot_in, workspace_of
from runners.ledger.outbox import new_message
from runners.ledger.sent import Speaker, assistant_item, sent_event
from runners.ledger.turns import append_transcripts
from runners.models import Conversation, Delivery
from runners.platform_tools import SEND_MESSAGE
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes.callers import caller_of
from runners.wakes import wake_deliveries

_PARTS = 100  # of a message chain


class SendRequest(CallData):
    bot_uuid: str
    target_type: str = ""
    target_id: str = Field(min_length=1, max_length=200)
    message_chain: list[dict[str, Any]] = Field(min_length=1, max_length=_PARTS)


async def send_message(call: ConnectionCall) -> dict[str, Any]:
    """Put a text into the outbox; returns its delivery's id as the result."""
    workspace = workspace_of(call)
    return await call.database(_send, call, workspace)


@transaction.atomic
def _send(call: ConnectionCall, workspace_id: int) -> dict[str, Any]:
    connection = call.connection
    caller_of(connection.connection_id, connection.plugin)
    data = call.read(SendRequest)
    text = _text(data.message_chain)
    conversation = _conversation(workspace_id, data)
    key = uuid5(connection.connection_id, f"{SEND_MESSAGE}:{call.seq_id}")
    delivery = Delivery.objects.filter(idempotency_key=key).first()
    if delivery is None:
        bot_id = UUID(data.bot_uuid)
        _record(call, conversation, bot_id, text)
        delivery = new_message(conversation, bot_id, text, key)
        delivery.save(force_insert=True)
        wake_deliveries([delivery.pk])
    return {"result": {"delivery_id": str(delivery.public_id)}}


def _record(
    call: ConnectionCall, conversation: Conversation, bot_id: UUID, text: str
) -> None:
    """Write the event and the line of the transcript; no run has said it."""
    connection = call.connection
    source = f"plugin:{connection.connection_id}"
    actor = {"type": "plugin", "id": connection.plugin}
    speaker = Speaker(source, actor, bot_id)
    event = sent_event(conversation, speaker, f"{SEND_MESSAGE}:{call.seq_id}", text)
    event.save(force_insert=True)
    append_transcripts([(conversation, assistant_item(event, text))])


def _conversation(workspace_id: int, data: SendRequest) -> Conversation:
    """Return where the bot has been written to, locked for its order; or not_found."""
    bot = find_bot_in(workspace_id, data.bot_uuid)
    known = known_conversation(workspace_id, bot.public_id, data.target_id)
    if known is None or not bot.is_enabled:
        message = "the bot has no conversation of this id"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return lock_rows(Conversation.objects.filter(pk=known))[0]


def _text(chain: list[dict[str, Any]]) -> str:
    """Return the words of a message chain; raises for anything but words."""
    words = [part.get("text") for part in chain if part.get("type") == "Plain"]
    if len(words) < len(chain) or not all(isinstance(one, str) for one in words):
        message = "message_chain: only Plain components can be sent without a run"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message)
    text = "".join(map(str, words)).strip()
    if not text or len(text) > limits().follow_up_characters:
        message = f"a message has 1 to {limits().follow_up_characters} characters"
        raise ProtocolError(ErrorCode.TOO_LARGE, message)
    return text
