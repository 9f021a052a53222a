"""Which tools a conversation has used so far."""

from django.db.models import F

from runners.choices import EventType
from runners.ledger.conversations import TranscriptItem
from runners.ledger.runs import RunEvent


def was_used(conversation_id: int, run_id: int, tool: str) -> bool:
    """Whether this run, or an earlier turn of the conversation, called a tool.

    What was replaced, or said before the conversation began anew, does not count.
    """
    mine = RunEvent.objects.filter(
        run=run_id, type=EventType.TOOL_CALL_STARTED, data__tool_name=tool
    )
    earlier = TranscriptItem.objects.current().filter(
        conversation=conversation_id,
        seq__gt=F("conversation__context_seq"),
        item_type="tool_call",
        text=tool,
    )
    return mine.exists() or earlier.exists()
