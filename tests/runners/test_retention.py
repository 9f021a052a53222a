"""What the ledger forgets after its period, and what it never does."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db.models import QuerySet

from agents.models import PluginStorage, PluginToken, UsageRecord
from agents.registry.tokens import create_plugin_token
from artifacts import blobs
from artifacts.models import Artifact
from langbot.core import retention
from langbot.core.audit import record_act
from langbot.core.audit_chain import find_breaks, purge_due, seal_all
from langbot.core.models import ApiToken, AuditLog, AuditSeal
from langbot.core.periods import WorkspaceRetention
from langbot.core.retention import purge_all
from langbot.core.tokens import create_api_token
from runners.choices import DeliveryStatus, QueuedStatus, RunStatus
from runners.models import (
    AgentRun,
    Conversation,
    Delivery,
    EventLog,
    HostCall,
    HostCallRefusal,
    PendingAction,
    QueuedMessage,
    RunEvent,
    RunnerState,
    TranscriptItem,
)
from tests.factories import AgentFactory, WorkspaceFactory
from tests.runners.admin_rows import add_events, make_run
from tests.support.stored_files import store_bytes

pytestmark = pytest.mark.django_db

LIVE = [
    RunStatus.CREATED,
    RunStatus.QUEUED,
    RunStatus.RUNNING,
    RunStatus.REQUIRES_ACTION,
]


def age(days, *rows):
    """Make rows look as if they had been written so long ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    for row in rows:
        names = {field.name for field in row._meta.fields}
        columns = {"created_at", "finished_at", "updated_at", "ended_at"} & names
        columns = {one for one in columns if getattr(row, one) is not None}
        type(row)._base_manager.filter(pk=row.pk).update(**dict.fromkeys(columns, then))


def old_run(agent, days=91, **fields):
    """Make a run with everything that belongs to one, all of it so old."""
    run = make_run(agent, **fields)
    add_events(run, ("run.queued", {}), ("run.started", {}))
    HostCall.objects.create(run=run, invocation=1, plugin_seq_id=1, action="call_tool")
    now = datetime.now(UTC)
    HostCallRefusal.objects.create(
        run=run, action="x", code="y", count=1, first_at=now, last_at=now
    )
    said = TranscriptItem.objects.create(
        conversation=run.conversation,
        seq=1,
        role="user",
        text="Hello",
        run=run,
        event=run.event,
    )
    age(days, run, run.event, run.conversation, said)
    return run


def delivery_of(run, status):
    row = Delivery.objects.create(
        workspace=run.workspace,
        run=run,
        conversation=run.conversation,
        bot_id=uuid4(),
        target="t",
        payload={"text": "x"},
        status=status,
        next_attempt_at=datetime.now(UTC),
    )
    age(91, row)
    return row


def queued_of(run, status):
    event = make_run(run.agent, conversation=run.conversation).event
    AgentRun.objects.filter(event=event).delete()
    row = QueuedMessage.objects.create(
        conversation=run.conversation,
        event=event,
        agent=run.agent,
        status=status,
        ended_at=None if status == QueuedStatus.QUEUED else datetime.now(UTC),
    )
    age(91, row, event)
    return row


def test_a_run_goes_after_its_period_with_all_that_belongs_to_it(agent):
    gone, kept = old_run(agent), old_run(agent, days=89)
    removed = purge_all()
    assert (removed["runs"], removed["events"]) == (1, 1)
    assert list(AgentRun.objects.all()) == [kept]
    assert list(EventLog.objects.all()) == [kept.event]
    for model in (RunEvent, HostCall, HostCallRefusal):
        assert set(model.objects.values_list("run", flat=True)) == {kept.pk}
    # What was said stays until the period of messages is over.
    said = TranscriptItem.objects.get(conversation=gone.conversation)
    assert (said.run, said.event, said.text) == (None, None, "Hello")
    assert -1 not in removed.values()


@pytest.mark.parametrize("status", LIVE)
def test_nothing_live_is_ever_removed(agent, status):
    WorkspaceRetention.objects.create(
        workspace=agent.workspace, run_days=1, message_days=1
    )
    run = old_run(agent, days=5000, status=status)
    purge_all()
    assert AgentRun.objects.filter(pk=run.pk, event=run.event).exists()
    assert RunEvent.objects.filter(run=run).count() == 2
    assert HostCall.objects.filter(run=run).exists()
    assert TranscriptItem.objects.filter(run=run).count() == 1
    assert Conversation.objects.filter(pk=run.conversation_id).exists()


def test_a_run_stays_while_something_open_refers_to_it(agent):
    sending, parent, asking = old_run(agent), old_run(agent), old_run(agent)
    delivery_of(sending, DeliveryStatus.PENDING)
    make_run(agent, status=RunStatus.RUNNING, parent=parent, depth=1)
    PendingAction.objects.create(
        workspace=agent.workspace,
        conversation=asking.conversation,
        run=asking,
        agent=agent,
        kind="question",
        tool_call_id="1",
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    assert purge_all()["runs"] == 0
    Delivery.objects.update(status=DeliveryStatus.DELIVERED)
    PendingAction.objects.update(status="responded")
    assert purge_all()["runs"] == 2
    assert AgentRun.objects.filter(pk=parent.pk).exists()


def test_deliveries_and_messages_that_wait_stay(agent):
    run = make_run(agent)
    open_ones = [delivery_of(run, one) for one in ("pending", "sending")]
    ended = [delivery_of(run, one) for one in ("delivered", "failed", "uncertain")]
    waiting = queued_of(run, QueuedStatus.QUEUED)
    answered = queued_of(run, QueuedStatus.PROMOTED)
    removed = purge_all()
    assert removed["deliveries"] == len(ended)
    assert set(Delivery.objects.all()) == set(open_ones)
    assert removed["queued messages"] == 1
    assert list(QueuedMessage.objects.all()) == [waiting]
    events = set(EventLog.objects.values_list("pk", flat=True))
    assert waiting.event_id in events
    assert answered.event_id not in events


def test_each_workspace_has_its_own_periods(agent):
    mine = old_run(agent, days=20)
    other = AgentFactory.create(workspace=WorkspaceFactory.create(slug="other"))
    theirs, ancient = old_run(other, days=20), old_run(other, days=4000)
    WorkspaceRetention.objects.create(workspace=agent.workspace, run_days=10)
    WorkspaceRetention.objects.create(workspace=other.workspace, run_days=0)
    assert purge_all()["runs"] == 1
    assert set(AgentRun.objects.all()) == {theirs, ancient}
    assert not AgentRun.objects.filter(pk=mine.pk).exists()


def test_messages_go_and_then_their_empty_conversation(agent):
    WorkspaceRetention.objects.create(
        workspace=agent.workspace, run_days=5, message_days=30
    )
    old, young = old_run(agent, days=31), old_run(agent, days=29)
    removed = purge_all()
    assert (removed["messages"], removed["conversations"]) == (1, 1)
    assert list(Conversation.objects.all()) == [young.conversation]
    assert not TranscriptItem.objects.filter(conversation=old.conversation_id).exists()
    assert TranscriptItem.objects.get().conversation == young.conversation


def test_a_conversation_of_one_call_goes_with_its_run(agent):
    place = Conversation.objects.create(
        workspace=agent.workspace, key="event:1", kind="stateless"
    )
    old_run(agent, conversation=place)
    chat = old_run(agent).conversation
    purge_all()
    assert list(Conversation.objects.all()) == [chat]


def test_many_rows_go_in_batches(agent, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 4)
    runs = [old_run(agent) for _ in range(10)]
    removed = purge_all()
    assert (removed["runs"], removed["events"]) == (len(runs), len(runs))
    assert RunEvent.objects.count() == 0


def test_values_and_files_go_after_their_periods(agent):
    place = agent.workspace
    WorkspaceRetention.objects.create(workspace=place, state_days=10, file_days=10)

    def value(key, days, **more):
        row = RunnerState.objects.create(
            workspace=place,
            runner_id="r",
            scope="actor",
            scope_key=key,
            key="k",
            **more,
        )
        age(days, row)

    def stored(name, days, **more):
        file = store_bytes(
            place,
            name.encode(),
            type="file",
            mime_type="",
            name=name,
            source="runner",
            **more,
        )
        age(days, file)
        return file

    now = datetime.now(UTC)
    value("old", 11), value("young", 9)
    value("over", 0, expires_at=now - timedelta(seconds=1))
    for name, days in (("old", 11), ("young", 9)):
        row = PluginStorage.objects.create(workspace=place, key=name, value=b"", size=0)
        age(days, row)
    old, _young = stored("old", 11), stored("young", 9)
    stored("promised", 11, expires_at=now + timedelta(days=1))
    removed = purge_all()
    assert [row.scope_key for row in RunnerState.objects.all()] == ["young"]
    assert [row.key for row in PluginStorage.objects.all()] == ["young"]
    names = set(Artifact.objects.values_list("name", flat=True))
    assert names == {"young", "promised"}
    assert (removed["artifacts"], removed["runner state"]) == (1, 2)
    assert old.sha256 in set(blobs.digests())  # written just now: the sweep waits


def test_usage_goes_after_400_days_and_its_period(agent):
    for days in (399, 401):
        row = UsageRecord.objects.create(
            workspace=agent.workspace,
            model_name="m",
            provider_name="p",
            cost_source="missing",
        )
        age(days, row)
    assert purge_all()["usage records"] == 1
    assert UsageRecord.objects.count() == 1


def test_tokens_go_a_season_after_they_were_over(user, workspace):
    now = datetime.now(UTC)
    ages = {"gone": 91, "looked at": 89, "in use": -1}
    for label, days in ages.items():
        over = now - timedelta(days=days)
        create_api_token(user, workspace, label, expires_at=over)
        token, _ = create_plugin_token(label, workspace=workspace)
        PluginToken.objects.filter(pk=token.pk).update(revoked_at=over)
    removed = purge_all()
    assert (removed["API tokens"], removed["plugin tokens"]) == (1, 1)
    for model in (ApiToken, PluginToken):
        labels = set(model._default_manager.values_list("label", flat=True))
        assert labels == {"looked at", "in use"}


def test_the_audit_log_of_a_workspace_has_a_period_of_its_own(agent, settings):
    other = AgentFactory.create(workspace=WorkspaceFactory.create(slug="other"))
    for row in (agent, other):
        record_act("ada", "changed", row)
    seal_all()
    then = datetime.now(UTC) - timedelta(days=40)
    QuerySet.update(AuditSeal.objects.all(), last_at=then)
    WorkspaceRetention.objects.create(workspace=agent.workspace, audit_days=30)
    assert purge_due() == 1
    assert [row.workspace for row in AuditLog.objects.all()] == [other.workspace]
    settings.LANGBOT = {**settings.LANGBOT, "AUDIT_DAYS": 30}
    WorkspaceRetention.objects.create(workspace=other.workspace, audit_days=0)
    assert purge_due() == 0
    assert list(find_breaks()) == []


def test_prune_prints_what_went_by_name(agent, capsys):
    old_run(agent)
    call_command("prune")
    printed = capsys.readouterr().out.splitlines()
    assert "runs: 1" in printed
    assert "events: 1" in printed
    assert printed.index("runs: 1") < printed.index("events: 1")
