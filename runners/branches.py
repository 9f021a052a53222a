"""Beginning again at an earlier message: a reply made anew, or other words after it.

What came after that message is replaced: it leaves what models, searches and pages
see, while the ledger keeps all of it (AG-44, LO-21). What people said during a turn
that is answered anew waits for the new answer (LB-82).
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from langbot.core.audit import record_act
from langbot.lib.models import lock_rows
from runners.admission import Admitted, Incoming, admit
from runners.busy import is_busy, live_of
from runners.choices import Role
from runners.errors import AgentUnavailableError, ConversationBusyError, NoReplyError
from runners.incoming import with_stored_files
from runners.models import AgentRun, Conversation, EventLog, TranscriptItem
from runners.resets import MARKER
from runners.retries import begin_attempt, joined
from runners.spending import check_admission, person_behind

__all__ = ["find_item", "messages_after", "regenerate", "say_after"]


def find_item(conversation: Conversation, message_id: UUID) -> TranscriptItem | None:
    """Return a message of the conversation that was not replaced."""
    rows = TranscriptItem.objects.current().filter(conversation=conversation)
    return rows.select_related("run").filter(public_id=message_id).first()


def regenerate(item: TranscriptItem, actor: str) -> Admitted:
    """Answer a message again: `item` is what was said, or any row of its answer.

    The new run is the next attempt at the same event, with the agent as it is now. Its
    context ends with that message; what joined the turn waits for it. `actor` is the
    name in the audit log. Raises ConversationBusyError, AgentUnavailableError,
    BudgetUsedUpError, and NoReplyError for what no run has answered; nothing was
    written then.
    """
    with transaction.atomic():
        conversation = _lock_idle(item)
        question, run = _answered(conversation, item)
        if not run.agent.enabled or run.agent.archived_at is not None:
            raise AgentUnavailableError(_("The agent is disabled."))
        place = run.workspace_id, run.agent_id, run.bot_id
        check_admission(*place, run.event.actor, person_behind(run.pk))
        attempt = begin_attempt(run)
        replaced = _replace_after(conversation, question.seq)
        after = {"run": str(attempt.public_id), "replaced": replaced}
        record_act(actor, "regenerated", run, after=after)
    return Admitted("started", attempt.event, conversation, attempt)


def messages_after(item: TranscriptItem) -> int:
    """Return how many messages of people `regenerate` would replace.

    They stand after the turn of `item`. Raises NoReplyError as `regenerate` does.
    """
    question, run = _answered(item.conversation, item)
    rows = TranscriptItem.objects.current().filter(role=Role.USER)
    after = rows.filter(conversation=question.conversation_id, seq__gt=question.seq)
    after = after.exclude(pk__in=joined(run.event))
    return after.filter(item_type="message").count()


def say_after(item: TranscriptItem, incoming: Incoming) -> Admitted:
    """Say something else after an earlier message; raises as `admit` does.

    Raises ConversationBusyError, too, where something is to be replaced while a run is
    under way or a message waits.
    """
    if _was_admitted(incoming) or not _is_followed(item):
        return admit(incoming)
    incoming = with_stored_files(incoming)
    with transaction.atomic():
        conversation = _lock_idle(item)
        if not _was_admitted(incoming):
            _replace_after(conversation, item.seq)
        return admit(incoming)


def _was_admitted(incoming: Incoming) -> bool:
    """Whether it is sent again: what came after it meanwhile is to stay."""
    known = EventLog.objects.filter(
        workspace=incoming.workspace, source=incoming.source, event_id=incoming.event_id
    )
    return not incoming.is_first and known.exists()


def _is_followed(item: TranscriptItem) -> bool:
    """Whether something came after a message; after the last one, one just goes on."""
    rows = TranscriptItem.objects.current().filter(conversation=item.conversation_id)
    return rows.filter(seq__gt=item.seq).exists()


def _lock_idle(item: TranscriptItem) -> Conversation:
    locked = lock_rows(Conversation.objects.filter(pk=item.conversation_id))[0]
    if is_busy(locked):
        live = live_of.first(locked.pk)
        raise ConversationBusyError(live.public_id if live is not None else None)
    return locked


def _answered(
    conversation: Conversation, item: TranscriptItem
) -> tuple[TranscriptItem, AgentRun]:
    """Return the message that began the turn of a row, and its newest run."""
    event = _event_of(item)
    runs = AgentRun.objects.select_related("agent", "event").filter(event=event)
    run = runs.order_by("-attempt").first() if event is not None else None
    said = TranscriptItem.objects.current().filter(
        conversation=conversation, role=Role.USER, event=event
    )
    question = said.order_by("seq").first() if run is not None else None
    if run is None or question is None:
        raise NoReplyError
    return question, run


def _event_of(item: TranscriptItem) -> EventLog | None:
    """Return what began the turn; a message may have joined a run under way."""
    event = item.event if item.role == Role.USER else None
    if event is not None and event.runs.exists():
        return event
    return item.run.event if item.run is not None else None


def _replace_after(conversation: Conversation, seq: int) -> int:
    """Replace all that was said after `seq`; a reset among it is undone."""
    rows = TranscriptItem.objects.filter(conversation=conversation)
    replaced = rows.filter(seq__gt=seq).supersede()
    if conversation.context_seq > seq:
        resets: Any = rows.current().filter(item_type=MARKER).order_by("-seq")
        conversation.context_seq = resets.values_list("seq", flat=True).first() or 0
        Conversation.objects.filter(pk=conversation.pk).update(
            context_seq=conversation.context_seq
        )
    return replaced
