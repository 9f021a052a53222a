"""From queued to running: what stands in the way of one run never stops another."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agents.registry.tokens import create_plugin_token
from runners.choices import RunStatus
from runners.engine.placement import Unplaced
from runners.engine.starter import note_waiting, prepare, queued_ids
from runners.models import AgentRun, RemoteRuntime
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run
from tests.runners.ledger.test_fence import queued_run


@pytest.fixture
def unreadable(workspace):
    """An agent whose secret was sealed with a key that is gone."""
    sealed = {"api-key": {"$secret": "not a token of ours"}}
    return AgentFactory(workspace=workspace, runner_config=sealed)


def test_a_run_that_cannot_be_started_ends_and_its_neighbour_starts(agent, unreadable):
    bad, good = queued_run(unreadable), queued_run(agent)
    prepared = prepare([bad.pk, good.pk])
    assert [run.pk for run, _, _ in prepared] == [good.pk]
    bad.refresh_from_db()
    assert (bad.status, bad.error_code) == (RunStatus.FAILED, "runner.context_invalid")


def test_a_run_that_cannot_be_started_does_not_block_its_conversation(unreadable):
    first = queued_run(unreadable, "room")
    assert queued_run(unreadable, "room") is None  # queued behind the first
    prepare([first.pk])
    live = AgentRun.objects.live().get(conversation=first.conversation)
    assert live.pk != first.pk


def test_a_run_without_a_plugin_waits_and_then_fails(agent):
    run = queued_run(agent)
    note_waiting(run, Unplaced.OFFLINE)
    run.refresh_from_db()
    assert (run.status, run.status_reason) == (RunStatus.QUEUED, "runner_offline")
    run.queued_at = datetime.now(UTC) - timedelta(seconds=61)
    note_waiting(run, Unplaced.OFFLINE)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "runner.unavailable")
    assert run.retryable


def test_a_busy_plugin_is_waited_for(agent):
    run = queued_run(agent)
    run.queued_at = datetime.now(UTC) - timedelta(seconds=61)
    note_waiting(run, Unplaced.BUSY)
    run.refresh_from_db()
    assert (run.status, run.status_reason) == (RunStatus.QUEUED, "runner_busy")


def test_runs_of_remote_queues_hide_no_other(agent):
    for _ in range(3):
        remote = make_run(agent, status=RunStatus.QUEUED, queue_name="gpu")
    ordinary = make_run(agent, status=RunStatus.QUEUED)
    assert queued_ids(2) == [ordinary.pk]
    assert [run.pk for run, _, _ in prepare([remote.pk, ordinary.pk])] == [ordinary.pk]
    remote.refresh_from_db()
    assert (remote.status, remote.snapshot) == (RunStatus.QUEUED, None)


def test_a_remote_runtime_keeps_no_ordinary_run_waiting(agent):
    token, _ = create_plugin_token("remote", workspace=None, control_plane=True)
    RemoteRuntime.objects.create(
        token=token,
        connection_id=uuid4(),
        runtime_id="anywhere",
        plugin="acme/remote",
        heartbeat_at=datetime.now(UTC),
        heartbeat_deadline_at=datetime.now(UTC) + timedelta(hours=1),
    )
    run = queued_run(agent)
    run.queued_at = datetime.now(UTC) - timedelta(seconds=61)
    note_waiting(run, Unplaced.OFFLINE)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "runner.unavailable")
