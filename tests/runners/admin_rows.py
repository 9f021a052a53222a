"""Ledger rows for tests that only look at them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from runners.choices import EventOutcome, RunStatus
from runners.models import AgentRun, Conversation, EventLog, RunEvent


def make_run(agent, status=RunStatus.COMPLETED, text="Hello there", **fields):
    """Create a run with its event and conversation."""
    now = datetime.now(UTC)
    conversation = fields.pop("conversation", None) or Conversation.objects.create(
        workspace=agent.workspace, key=f"web:{uuid4()}"
    )
    event = EventLog.objects.create(
        workspace=agent.workspace,
        source="user:1",
        event_id=str(uuid4()),
        type="message.received",
        time=now,
        conversation=conversation,
        input_summary=text,
        input={"text": text},
        trigger_source="webui",
        outcome=EventOutcome.STARTED,
    )
    ended = status in {"completed", "failed", "cancelled", "timeout"}
    return AgentRun.objects.create(
        workspace=agent.workspace,
        conversation=conversation,
        event=event,
        agent=agent,
        agent_version=agent.version,
        runner_id=agent.runner_id,
        status=status,
        queued_at=now,
        started_at=now,
        finished_at=now + timedelta(seconds=2) if ended else None,
        **fields,
    )


def add_events(run, *events):
    """Append (type, data) pairs to the run's ledger."""
    start = run.last_seq
    RunEvent.objects.bulk_create(
        RunEvent(
            run=run,
            seq=start + number,
            type=kind,
            data=data,
            created_at=run.queued_at + timedelta(milliseconds=50 * (start + number)),
        )
        for number, (kind, data) in enumerate(events, 1)
    )
    run.last_seq = start + len(events)
    AgentRun.objects.filter(pk=run.pk).update(last_seq=run.last_seq)
