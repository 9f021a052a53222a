"""A client that comes anew finds what its run waits for (LH-13), and nothing stale."""

from datetime import UTC, datetime, timedelta

import pytest

from runners.clients.access import admit_client
from runners.clients.tokens import issue_token
from runners.models import PendingAction
from runners.open_requests import open_requests
from tests.runners.admin_rows import make_action, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(agent):
    return make_run(agent, "requires_action")


def shown(client, run):
    return client.get(f"/api/v1/runs/{run.public_id}/").json()["pending_actions"]


def test_a_run_shows_what_it_waits_for(api_client, run):
    approval = make_action(run, tool_call_id="c1")
    question = make_action(run, "question")
    first, second = shown(api_client, run)
    assert (first["action"], first["id"]) == (
        "tool_approval",
        str(approval.public_id),
    )
    (call,) = first["action_requests"]
    assert (call["tool_call_id"], call["name"]) == ("c1", "pay")
    assert call["arguments"] == {"euro": 5, "api_key": "[redacted]"}
    assert (second["action"], second["id"]) == (
        "interaction.requested",
        str(question.public_id),
    )
    assert second["payload"]["kind"] == "form"
    assert second["payload"]["fields"][0]["id"] == "size"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "approved"},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
    ],
)
def test_what_is_decided_or_late_is_not_waited_for(api_client, run, fields):
    make_action(run, **fields)
    assert shown(api_client, run) == []


def test_a_patch_matches_the_tag_of_the_run_that_was_read(api_client, run):
    make_action(run)
    address = f"/api/v1/runs/{run.public_id}/"
    tag = api_client.get(address).headers["ETag"]
    changed = api_client.patch(
        address, {"notes": "seen"}, format="json", headers={"If-Match": tag}
    )
    assert changed.status_code == 200


def test_who_may_not_see_actions_sees_none(api_client, user, run):
    from django.contrib.auth.models import Permission

    make_action(run)
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="view_agentrun"))
    assert shown(api_client, run) is None


def test_a_client_that_comes_anew_is_told(run, user):
    action = make_action(run)
    token = issue_token(run.public_id, run.workspace_id, user.pk)
    client = admit_client(str(run.public_id), token)
    assert [one["id"] for one in client.asked] == [str(action.public_id)]


def test_a_late_action_is_shown_as_expired_before_the_sweep(api_client, run):
    action = make_action(run)
    PendingAction.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    shown = api_client.get(f"/api/v1/actions/{action.public_id}/").json()
    assert shown["status"] == "expired"
    listed = api_client.get("/api/v1/actions/", {"status": "open"}).json()
    assert listed["results"] == []
    assert open_requests(run.pk) == []
