"""`actions/`: what waits for a person, by REST."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model

from langbot.core.models import AuditLog
from runners.actions import expire_actions, open_actions, revoke_grant
from runners.models import AgentRun, PendingAction, QueuedMessage, ToolGrant
from runners.protocol.errors import ErrorCode
from tests.factories import WorkspaceFactory
from tests.runners.admin_rows import make_action, make_run
from tests.runners.host_api.providers import Tools, install

pytestmark = pytest.mark.django_db
URL = "/api/v1/actions/"


@pytest.fixture
def run(agent):
    return make_run(agent, "requires_action")


@pytest.fixture
def action(run):
    return make_action(run, tool_name="shout", arguments={"text": "hi"}, parked=True)


def resolve(client, action, **body):
    path = f"{URL}{action.public_id}/resolve/"
    return client.post(path, body, format="json")


def test_an_action_is_listed_with_what_a_person_needs(api_client, action, run):
    (shown,) = api_client.get(URL).json()["results"]
    assert shown["id"] == str(action.public_id)
    assert shown["run"] == str(run.public_id)
    assert shown["agent"] == str(run.agent.public_id)
    assert (shown["kind"], shown["status"]) == ("approval", "open")
    assert (shown["tool_name"], shown["arguments"]) == ("shout", {"text": "hi"})
    assert api_client.get(f"{URL}{action.public_id}/").json() == shown


def test_secrets_in_arguments_are_hidden(api_client, run):
    make_action(run, arguments={"api_key": "sk-1", "euro": 5})
    (shown,) = api_client.get(URL).json()["results"]
    assert shown["arguments"] == {"api_key": "[redacted]", "euro": 5}


def test_masked_arguments_stay_as_they_were(api_client, run):
    action = make_action(run, arguments={"api_key": "sk-1", "euro": 5})
    args = {"api_key": "[redacted]", "euro": 6}
    answer = resolve(api_client, action, decision="edit", args=args)
    assert answer.status_code == 200
    assert answer.json()["decision"]["args"] == args
    action.refresh_from_db()
    assert action.decision["args"] == {"api_key": "sk-1", "euro": 6}


def test_a_list_is_narrowed(api_client, action, run, agent):
    make_action(run, "question", status="responded")
    for query, count in (
        ("status=open", 1),
        ("status=open&status=responded", 2),
        ("kind=question", 1),
        (f"run={run.public_id}", 2),
        (f"agent={agent.slug}", 2),
        (f"conversation={run.conversation.public_id}", 2),
        ("tool_name=shout", 1),
        ("tool_name=other", 0),
    ):
        assert len(api_client.get(f"{URL}?{query}").json()["results"]) == count, query


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"decision": "approve"}, "approved"),
        ({"decision": "reject", "reason": "too loud"}, "rejected"),
        ({"decision": "edit", "args": {"text": "ho"}}, "edited"),
        ({"decision": "respond", "values": {"said": True}}, "responded"),
        ({"decision": "approve", "scope": "session"}, "approved"),
    ],
)
def test_a_decision_is_taken_once(api_client, action, body, status, monkeypatch):
    install(monkeypatch, Tools())
    answer = resolve(api_client, action, **body)
    assert answer.status_code == 200, answer.json()
    shown = answer.json()
    assert (shown["status"], shown["decided_by"]) == (status, "ada")
    assert shown["decision"]["decision"] == body["decision"]
    late = resolve(api_client, action, decision="reject")
    problem = late.json()
    assert (late.status_code, problem["code"]) == (409, "action_resolved")
    assert problem["decided_by"] == "ada"
    assert problem["decision"] == body["decision"]
    assert problem["decided_at"] == shown["decided_at"].replace("Z", "+00:00")
    entry = AuditLog.objects.get(object_id=str(action.public_id))
    assert (entry.action, entry.actor) == (f"action {status}", "ada")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "decision"),
        ({"decision": "maybe"}, "decision"),
        ({"decision": "edit"}, "args"),
        ({"decision": "edit", "args": {"text": 3}}, "args"),
        ({"decision": "edit", "args": [1]}, "args"),
        ({"decision": "approve", "args": {}}, "args"),
        ({"decision": "approve", "values": {}}, "values"),
        ({"decision": "respond"}, "values"),
        ({"decision": "reject", "scope": "session"}, "scope"),
        ({"decision": "approve", "scope": "always"}, "scope"),
        ({"decision": "approve", "scope": "never"}, "scope"),
        ({"decision": "approve", "other": 1}, "other"),
        ({"decision": "reject", "reason": "x" * 1001}, "reason"),
    ],
)
def test_a_decision_that_does_not_fit_changes_nothing(
    api_client, action, body, field, monkeypatch
):
    install(monkeypatch, Tools())
    answer = resolve(api_client, action, **body)
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()["errors"]) == [field]
    action.refresh_from_db()
    assert (action.status, action.decided_at) == ("open", None)
    assert not ToolGrant.objects.exists()


def test_staff_allow_a_tool_for_good_and_take_it_back(api_client, user, action):
    get_user_model().objects.filter(pk=user.pk).update(is_staff=True)
    assert (
        resolve(api_client, action, decision="approve", scope="always").status_code
        == 200
    )
    grant = ToolGrant.objects.get()
    assert (grant.conversation, grant.tool_name) == (None, "shout")
    assert revoke_grant(grant, "ada")
    assert not revoke_grant(grant, "ada")
    acts = AuditLog.objects.filter(object_id=str(grant.public_id))
    assert set(acts.values_list("action", flat=True)) == {
        "tool allowed",
        "tool no longer allowed",
    }


def test_an_action_of_another_workspace_is_not_there(api_client, action):
    elsewhere = WorkspaceFactory.create()
    PendingAction.objects.update(workspace=elsewhere)
    assert api_client.get(URL).json()["results"] == []
    answer = resolve(api_client, action, decision="approve")
    assert answer.status_code == 404
    assert list(open_actions([elsewhere])) == [action]


def test_what_expired_is_decided_no_more_and_its_run_ends(api_client, action, run):
    PendingAction.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert expire_actions() == 1
    assert expire_actions() == 0
    answer = resolve(api_client, action, decision="approve")
    assert (answer.status_code, answer.json()["code"]) == (409, "action_expired")
    action.refresh_from_db()
    run.refresh_from_db()
    assert action.status == "expired"
    assert (run.status, run.error_code) == ("cancelled", ErrorCode.APPROVAL_EXPIRED)
    last = run.events.latest("seq")
    assert (last.type, last.data["code"]) == ("run.failed", "approval_expired")


def test_an_answer_is_an_event_that_waits_for_the_run_under_way(api_client, agent):
    run = make_run(agent, "running")
    action = make_action(run, "question")
    answer = resolve(
        api_client, action, decision="respond", values={"size": "m", "count": 2}
    )
    assert answer.status_code == 200, answer.json()
    event = QueuedMessage.objects.get(conversation=run.conversation).event
    assert event.type == "interaction.submitted"
    given = event.input["interaction"]
    assert given["values"] == {"size": "m", "count": 2}
    assert given["interaction_id"] == action.form["interaction_id"]
    assert AgentRun.objects.filter(conversation=run.conversation).count() == 1


@pytest.mark.parametrize(
    "values",
    [{}, {"size": "xl"}, {"size": "m", "gift": "yes"}, {"size": "m", "other": 1}],
)
def test_an_answer_has_to_fit_its_form(api_client, agent, values):
    action = make_action(make_run(agent), "question")
    answer = resolve(api_client, action, decision="respond", values=values)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["values"])
    assert resolve(api_client, action, decision="approve").status_code == 400
    assert resolve(api_client, action, decision="reject").status_code == 200
