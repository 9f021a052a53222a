"""Which runs can be paused, and what time a paused one has left."""

from datetime import UTC, datetime

import pytest
from django.db import transaction

from runners.choices import RunStatus
from runners.engine.snapshot import run_deadline
from runners.ledger.batches import Batch, write_batches
from runners.ledger.fence import Fence
from runners.ledger.pausing import Pause, park
from runners.models import AgentRun, PendingAction
from tests.runners.admin_rows import make_action, make_run

pytestmark = pytest.mark.django_db
TOKEN = 7


def parked(run, token=TOKEN):
    with transaction.atomic():
        return park(Fence(run.pk, token, 0), Pause({"seconds_left": 1.0}), 1)


@pytest.mark.parametrize("status", RunStatus.values)
def test_only_a_running_run_is_paused(agent, status):
    """LH-06: what has ended, above all, stays as it is."""
    run = make_run(agent, status, fencing_token=TOKEN)
    action = make_action(run, status="approved")
    is_running = status == RunStatus.RUNNING
    assert bool(parked(run)) is is_running
    run.refresh_from_db()
    action.refresh_from_db()
    assert run.status == ("requires_action" if is_running else status)
    assert action.parked is is_running


def test_a_call_that_is_asked_as_its_run_pauses_is_paused_with_it(agent):
    run = make_run(agent, "running", fencing_token=TOKEN)
    asked, question = make_action(run), make_action(run, "question")
    for one in (asked, question):
        one.delete()
        one.pk = None
    pause = Pause({"seconds_left": 1.0})
    batch = Batch(run.pk, run.conversation_id, TOKEN, [], 1, pause=pause)
    batch.actions = [asked, question]
    assert write_batches([batch]).last_seq
    parked = dict(PendingAction.objects.values_list("kind", "parked"))
    assert parked == {"approval": True, "question": False}


def test_a_worker_that_lost_the_run_does_not_pause_it(agent):
    run = make_run(agent, "running", fencing_token=TOKEN + 1)
    assert not parked(run)
    assert AgentRun.objects.get(pk=run.pk).status == "running"


def test_a_resumed_run_has_the_time_that_it_had_left():
    """C-44: neither the whole of it again nor what passed while nobody decided."""
    snapshot = {"seconds_left": 40.0, "runner_config": {"timeout": 900}}
    left = run_deadline(snapshot) - datetime.now(UTC)
    assert 39 < left.total_seconds() <= 40
