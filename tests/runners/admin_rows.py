"""Ledger rows for tests that only look at them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from agents.models import (
    Model,
    ModelPrice,
    ModelProvider,
    PersonTier,
    Quota,
    QuotaWindow,
    UsageRecord,
)
from runners.choices import EventOutcome, RunStatus
from runners.models import AgentRun, Conversation, EventLog, PendingAction, RunEvent


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
        actor=fields.pop("actor", {}),
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


def add_money(agent, run, person):
    """Create a model call of a run, and budgets; returns the rows."""
    now = datetime.now(UTC)
    place = {"workspace": agent.workspace}
    record = UsageRecord.objects.create(
        **place,
        agent=agent,
        run_id=run.public_id,
        person=person,
        model_name="small-model",
        provider_name="Cloud",
        prompt_tokens=7,
        completion_tokens=3,
        cost_microdollars=44,
        cost_source="price",
    )
    quota = Quota.objects.create(
        **place,
        scope="user",
        person=f"bot:{agent.slug}",
        window="daily",
        limit_microdollars=100,
    )
    window = QuotaWindow.objects.create(
        **place,
        scope="agent",
        subject=str(agent.pk),
        window="daily",
        starts_at=now,
        ends_at=now + timedelta(days=1),
        settled_microdollars=44,
    )
    return record, quota, window


def add_prices(workspace, name):
    """Create a model with its price, and a person's tier; returns the last two."""
    provider = ModelProvider.objects.create(workspace=workspace, name=f"{name} prices")
    model = Model.objects.create(provider=provider, name=f"{name} model")
    price = ModelPrice.objects.create(model=model, input_microdollars=1)
    return price, PersonTier.objects.create(workspace=workspace, person=name)


def make_action(run, kind="approval", **fields):
    """Create what a run asks a person: a tool call, or a question with a form."""
    question = {
        "type": "form",
        "interaction_id": str(uuid4()),
        "title": "Which size?",
        "description": "We have three.",
        "fields": [
            {
                "id": "size",
                "label": "Size",
                "type": "select",
                "required": True,
                "options": [{"value": "m", "label": "Medium"}, {"value": "l"}],
            },
            {"id": "gift", "label": "A gift", "type": "boolean"},
            {"id": "count", "label": "How many", "type": "number"},
        ],
        "actions": [],
    }
    asked = {"tool_name": "pay", "arguments": {"euro": 5, "api_key": "sk-1"}}
    if kind == "question":
        asked = {"form": question}
    values = {
        "tool_call_id": str(uuid4()),
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
        **asked,
        **fields,
    }
    return PendingAction.objects.create(
        workspace=run.workspace,
        conversation=run.conversation,
        run=run,
        agent=run.agent,
        kind=kind,
        **values,
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
