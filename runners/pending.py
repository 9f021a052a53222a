"""Messages that wait for the running turn."""

from datetime import UTC, datetime

from django.db import transaction

from langbot.lib.models import lock_rows
from runners.choices import QueuedStatus
from runners.ledger.steering import drop_taken_back
from runners.models import Conversation, QueuedMessage


def cancel_message(message: QueuedMessage) -> bool:
    """Take a waiting message back; False when it waits no longer.

    Holds the conversation's lock, under which messages are promoted, so a message is
    either answered or cancelled.
    """
    with transaction.atomic():
        lock_rows(Conversation.objects.filter(pk=message.conversation_id))
        cancelled = QueuedMessage.objects.filter(
            pk=message.pk, status=QueuedStatus.QUEUED
        ).update(status=QueuedStatus.CANCELLED, ended_at=datetime.now(UTC))
        if cancelled:
            message.refresh_from_db(fields=["mode", "meets"])
            drop_taken_back(message)
    return bool(cancelled)
