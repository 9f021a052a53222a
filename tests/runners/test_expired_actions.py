"""Pauses that nobody can end any more end by themselves, and only those (LH-05)."""

from datetime import UTC, datetime, timedelta

import pytest

from runners import actions
from runners.actions import ActionExpiredError, Decider, Decision, resolve_action
from runners.choices import ActionStatus, RunStatus
from runners.models import AgentRun, PendingAction
from runners.protocol.errors import ErrorCode
from tests.runners.admin_rows import make_action, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(agent):
    before = datetime.now(UTC) - timedelta(minutes=1)
    return make_run(agent, "requires_action", last_active_at=before)


def late(action):
    past = datetime.now(UTC) - timedelta(seconds=1)
    PendingAction.objects.filter(pk=action.pk).update(expires_at=past)
    return action


def ended(run):
    run.refresh_from_db()
    return run.status, run.error_code


EXPIRED = (RunStatus.CANCELLED, ErrorCode.APPROVAL_EXPIRED)
PAUSED = (RunStatus.REQUIRES_ACTION, "")


def test_an_action_and_its_run_end_together_or_not_at_all(run, monkeypatch):
    action = late(make_action(run, parked=True))

    def die(*_given):
        message = "killed here"
        raise KeyboardInterrupt(message)

    with monkeypatch.context() as killed:
        killed.setattr(actions, "_end_expired", die)
        with pytest.raises(KeyboardInterrupt):
            actions.expire_actions()
    assert ended(run) == PAUSED
    action.refresh_from_db()
    assert action.status == ActionStatus.OPEN
    actions.expire_actions()
    assert ended(run) == EXPIRED


@pytest.mark.parametrize("status", ["expired", "cancelled", None])
def test_a_pause_that_nobody_can_end_ends(run, status):
    if status is not None:
        make_action(run, parked=True, status=status, settled_at=datetime.now(UTC))
    actions.expire_actions()
    assert ended(run) == EXPIRED
    assert run.finished_at is not None
    last = run.events.latest("seq")
    assert (last.type, last.data["code"]) == ("run.failed", "approval_expired")


def test_a_run_that_was_paused_just_now_is_left_alone(run):
    run.last_active_at = datetime.now(UTC)
    run.save(update_fields=["last_active_at"])
    actions.expire_actions()
    assert ended(run) == PAUSED


@pytest.mark.parametrize(
    "fields",
    [{}, {"status": "approved", "parked": True, "decided_at": datetime.now(UTC)}],
)
def test_a_pause_that_somebody_will_end_goes_on(run, fields):
    make_action(run, **fields)
    make_action(run, status="expired", settled_at=datetime.now(UTC))
    actions.expire_actions()
    assert ended(run) == PAUSED


def test_whoever_decides_too_late_ends_what_they_saw(run):
    action = late(make_action(run, parked=True))
    with pytest.raises(ActionExpiredError):
        resolve_action(
            action.public_id, Decision(decision="approve"), Decider(name="ada")
        )
    action.refresh_from_db()
    assert action.status == ActionStatus.EXPIRED
    assert ended(run) == EXPIRED


def test_a_late_decision_leaves_the_next_pause_alone(run):
    earlier = late(make_action(run, parked=True))
    AgentRun.objects.filter(pk=run.pk).update(invocation=2)
    newer = make_action(run, parked=True, invocation=2)
    PendingAction.objects.filter(pk=earlier.pk).update(
        status="expired", settled_at=datetime.now(UTC)
    )
    with pytest.raises(ActionExpiredError):
        resolve_action(
            earlier.public_id, Decision(decision="approve"), Decider(name="ada")
        )
    newer.refresh_from_db()
    assert (newer.status, ended(run)) == (ActionStatus.OPEN, PAUSED)
