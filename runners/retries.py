"""Trying an ended run again: the next attempt at the same event.

A turn is what began it and what people said while it ran (LB-82). Of whatever kind the
next attempt at it is, it gets both: the event as its own, and the rest to pull.
"""

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from langbot.core.audit import record_act
from langbot.lib.models import lock_rows
from runners.choices import EventType, Role, RunStatus
from runners.errors import (
    AgentUnavailableError,
    ConversationBusyError,
    NotEndedError,
)
from runners.ledger.conversations import TranscriptQuerySet
from runners.ledger.fence import NewEvent, insert_events
from runners.ledger.metadata import note_metadata
from runners.models import AgentRun, Conversation, EventLog, TranscriptItem
from runners.steering import wait_again
from runners.wakes import wake_runs

ORIGIN = "retry:"  # and the id of the run that is tried again


def retry_run(run: AgentRun, actor: str) -> AgentRun:
    """Start the next attempt at an ended run's event, with the agent as it is now.

    The new run has the event, conversation, binding and parent of the old one; its
    `origin` names it. What the person said is in the transcript already and is not
    repeated there; what joined the turn waits for the new run. `actor` is the name in
    the audit log, which is written here. Raises NotEndedError, AgentUnavailableError
    and ConversationBusyError; nothing was written then.
    """
    if not run.agent.enabled or run.agent.archived_at is not None:
        raise AgentUnavailableError(_("The agent is disabled."))
    with transaction.atomic():
        lock_rows(Conversation.objects.filter(pk=run.conversation_id))
        _check_may_start(run)
        attempt = begin_attempt(run)
        after = {"run": str(attempt.public_id), "attempt": attempt.attempt}
        record_act(actor, "retried", run, after=after)
    return attempt


def begin_attempt(run: AgentRun) -> AgentRun:
    """Queue the next attempt at an ended run's event and wake a worker with it.

    What joined the turn waits for it, in its order, and gets its place in the
    transcript anew when it is taken up. In a transaction; the conversation's row must
    be locked and nothing live in it.
    """
    said = joined(run.event).select_related("event").order_by("seq")
    events = [item.event for item in said if item.event is not None]
    said.supersede()
    attempt = _next_attempt(run)
    note_metadata(attempt)
    insert_events([(attempt.pk, 1, 1, NewEvent(EventType.RUN_QUEUED, {}))])
    wait_again(attempt, events)
    wake_runs([attempt.pk])
    return attempt


def joined(event: EventLog) -> TranscriptQuerySet:
    """Select what was said during the turn of an event, in whichever attempt at it.

    Not what was rolled back, and not what came before the event: that is its past.
    """
    said = TranscriptItem.objects.current().filter(role=Role.USER, run__event=event)
    others = said.filter(event__isnull=False).exclude(event=event)
    return others.exclude(metadata__has_key="said_before")


def _check_may_start(run: AgentRun) -> None:
    run.refresh_from_db(fields=["status"])
    if not run.is_terminal:
        raise NotEndedError(_("The run has not ended yet."))
    live = AgentRun.objects.live().filter(conversation=run.conversation_id).first()
    if live is not None:
        raise ConversationBusyError(live.public_id)


def _next_attempt(run: AgentRun) -> AgentRun:
    attempts = AgentRun.objects.filter(event=run.event_id, agent=run.agent_id)
    last: int = attempts.aggregate(last=Max("attempt"))["last"]
    return AgentRun.objects.create(
        workspace_id=run.workspace_id,
        conversation_id=run.conversation_id,
        event_id=run.event_id,
        binding_id=run.binding_id,
        agent=run.agent,
        agent_version=run.agent.version,
        attempt=last + 1,
        runner_id=run.agent.runner_id,
        bot_id=run.bot_id,
        parent_id=run.parent_id,
        depth=run.depth,
        origin=f"{ORIGIN}{run.public_id}",
        dry_run=run.dry_run,
        status=RunStatus.QUEUED,
        queued_at=datetime.now(UTC),
        metadata=run.metadata,
        queue_name=run.queue_name,
        priority=run.priority,
        last_seq=1,
    )
