"""Trying an ended run again: the next attempt at the same event."""

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from langbot.core.audit import record_act
from langbot.lib.models import lock_rows
from runners.choices import EventType, RunStatus
from runners.errors import (
    AgentUnavailableError,
    ConversationBusyError,
    NotEndedError,
)
from runners.ledger.fence import NewEvent, insert_events
from runners.ledger.metadata import note_metadata
from runners.models import AgentRun, Conversation
from runners.wakes import wake_runs

ORIGIN = "retry:"  # and the id of the run that is tried again


def retry_run(run: AgentRun, actor: str) -> AgentRun:
    """Start the next attempt at an ended run's event, with the agent as it is now.

    The new run has the event, conversation, binding and parent of the old one; its
    `origin` names it. What the person said is in the transcript already and is not
    repeated there. `actor` is the name in the audit log, which is written here.
    Raises NotEndedError, AgentUnavailableError and ConversationBusyError; nothing
    was written then.
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

    In a transaction; the conversation's row must be locked and nothing live in it.
    """
    attempt = _next_attempt(run)
    note_metadata(attempt)
    insert_events([(attempt.pk, 1, 1, NewEvent(EventType.RUN_QUEUED, {}))])
    wake_runs([attempt.pk])
    return attempt


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
