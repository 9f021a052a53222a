"""Who follows a conversation's run, sent away while the run itself goes on (AG-55)."""

from django.db import transaction
from django.db.models import F

from langbot.core.audit import record_act
from runners.models import AgentRun, Conversation

__all__ = ["disconnect_listeners"]


def disconnect_listeners(conversation: Conversation, author: str) -> bool:
    """End the event streams of the run under way, on every web node within 2 s.

    False where none is under way. Sockets and the web chat go on by themselves where
    they stopped; a client of the REST stream may resume from its last event.
    """
    runs = AgentRun.objects.live().filter(conversation=conversation)
    with transaction.atomic():
        found = runs.update(stream_cuts=F("stream_cuts") + 1)
        if found:
            record_act(author, "listeners disconnected", conversation)
    return bool(found)
