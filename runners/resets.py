"""A new context in the same conversation."""

from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from langbot.core.audit import record_act
from langbot.lib.models import lock_rows
from runners.choices import Role
from runners.ledger.actions import end_session_grants
from runners.ledger.turns import append_transcripts
from runners.models import Conversation, TranscriptItem

MARKER = "reset"  # the item type of the row that people see


def reset_conversation(conversation: Conversation, actor: str) -> None:
    """Send runners nothing of what was said so far; the transcript keeps it.

    A run under way goes on, and its reply belongs to the new context. What waits is
    answered in it. Runner state stays. `actor` is the name in the audit log.
    """
    with transaction.atomic():
        locked = lock_rows(Conversation.objects.filter(pk=conversation.pk))[0]
        begin_anew(locked)
        record_act(actor, "reset", locked)


def begin_anew(locked: Conversation) -> None:
    """Begin a new context in a conversation whose row is locked, and say so in it."""
    text = _("The conversation begins anew.")
    marker = TranscriptItem(role=Role.SYSTEM, item_type=MARKER, text=text)
    append_transcripts([(locked, marker)])
    end_session_grants(locked)
    locked.context_seq = locked.transcript_seq
    Conversation.objects.filter(pk=locked.pk).update(context_seq=locked.context_seq)


def is_expired(locked: Conversation, seconds: int) -> bool:
    """Whether nothing was said for that long (LB-103); never for 0 seconds."""
    silence = datetime.now(UTC) - locked.updated_at
    return seconds > 0 and silence >= timedelta(seconds=seconds)
