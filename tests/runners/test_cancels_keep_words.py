"""A run that ends while no worker carries it keeps what it had said (LH-12, AG-41)."""

from datetime import UTC, datetime, timedelta

import pytest

from runners.choices import RunStatus
from runners.endings import end_and_wake
from runners.engine.adoption import finish_stuck_cancels
from runners.ledger import batches
from runners.ledger.batches import Ending
from runners.models import AgentRun
from runners.services import request_cancel
from tests.runners.admin_rows import make_run
from tests.support import ledger

pytestmark = pytest.mark.django_db(transaction=True)


def paused_run(agent, status):
    """A run that has said something before it was paused, and where it is now."""
    run = ledger.begin(make_run(agent, RunStatus.QUEUED))
    ledger.write(run, "so ", "far", publish=False)
    snapshot = {"delivery_policy": {}, "earlier_invocations": [1]}
    AgentRun.objects.filter(pk=run.pk).update(
        status=status, snapshot=snapshot, invocation=1 + (status == "queued")
    )
    return run  # as it was before


def said(run):
    rows = run.transcript.filter(role="assistant")
    return [(row.text, row.metadata) for row in rows]


@pytest.mark.parametrize("status", ["requires_action", "queued"])
@pytest.mark.parametrize("is_stale", [True, False])
def test_a_cancel_of_a_paused_or_resumed_run(agent, status, is_stale):
    run = paused_run(agent, status)
    if not is_stale:
        run.refresh_from_db()
    assert request_cancel(run, "enough")
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert said(run) == [("so far", {"incomplete": True})]


def test_a_resumed_run_without_a_runner(agent):
    run = paused_run(agent, "queued")
    ending = Ending(RunStatus.FAILED, "runner.unavailable", "nobody is there")
    assert end_and_wake(run, ending, [RunStatus.QUEUED])
    assert said(run) == [("so far", {"incomplete": True})]


def test_a_run_that_speaks_until_it_is_ended(agent, monkeypatch):
    """What its worker has committed up to the very end is in the reply."""
    run = ledger.begin(make_run(agent, RunStatus.QUEUED))
    ledger.write(run, "so ", publish=False)
    lock = batches._lock_conversations

    def lock_late(given):
        monkeypatch.setattr(batches, "_lock_conversations", lock)
        ledger.write(run, "far", publish=False)
        return lock(given)

    monkeypatch.setattr(batches, "_lock_conversations", lock_late)
    late = datetime.now(UTC) - timedelta(minutes=1)
    AgentRun.objects.filter(pk=run.pk).update(cancel_requested_at=late)
    assert finish_stuck_cancels() == 1
    assert said(run) == [("so far", {"incomplete": True})]


def test_a_run_that_said_nothing_leaves_no_reply(agent):
    run = make_run(agent, RunStatus.QUEUED)
    assert request_cancel(run, "enough")
    assert said(run) == []
