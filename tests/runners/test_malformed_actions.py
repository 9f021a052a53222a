"""What is stored in no shape of ours is asked of nobody (LH-15, LH-05)."""

from typing import Any

import pytest

from runners.choices import ActionStatus, RunStatus
from runners.models import PendingAction
from runners.open_requests import open_requests
from tests.runners.admin_rows import make_action, make_run

pytestmark = pytest.mark.django_db

MALFORMED = [
    ("approval", {"arguments": ["x"]}),
    ("approval", {"arguments": "x"}),
    ("question", {"form": "x"}),
    ("question", {"form": None}),
    ("question", {"form": {"fields": "x"}}),
    ("question", {"form": {"fields": [{"label": "no id"}]}}),
    ("question", {"form": {"actions": [7]}}),
]


@pytest.fixture
def paused(agent):
    return make_run(agent, RunStatus.REQUIRES_ACTION)


def make(run, kind, fields):
    action = make_action(run, kind, parked=kind == "approval")
    PendingAction.objects.filter(pk=action.pk).update(**fields)
    return PendingAction.objects.get(pk=action.pk)


@pytest.mark.parametrize(("kind", "fields"), MALFORMED)
def test_a_client_that_comes_anew_is_not_asked(api_client, paused, kind, fields):
    make(paused, kind, fields)
    assert open_requests(paused.pk) == []
    answer = api_client.get(f"/api/v1/runs/{paused.public_id}/")
    assert (answer.status_code, answer.json()["pending_actions"]) == (200, [])


@pytest.mark.parametrize(("kind", "fields"), MALFORMED)
def test_nobody_decides_about_it_and_its_run_ends(api_client, paused, kind, fields):
    action = make(paused, kind, fields)
    decision: dict[str, Any] = {"decision": "approve"}
    if kind == "question":
        decision = {"decision": "respond", "values": {}}
    url = f"/api/v1/actions/{action.public_id}/resolve/"
    answer = api_client.post(url, decision, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "action_expired")
    action.refresh_from_db()
    paused.refresh_from_db()
    assert action.status == ActionStatus.EXPIRED
    if kind == "approval":
        assert (paused.status, paused.error_code) == ("cancelled", "approval_expired")
    shown = api_client.get(f"/api/v1/actions/{action.public_id}/")
    assert shown.status_code == 200
