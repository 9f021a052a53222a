from uuid import uuid4

import pytest

from langbot.core.models import AuditLog
from langbot.lib.conf import limits
from runners.ledger.scopes import scope_keys
from runners.ledger.state_store import read_state
from runners.models import AgentRun, RunnerState
from tests.factories import WorkspaceFactory

STATE = "/api/v1/state/"


@pytest.fixture
def run(api_client, agent):
    url = f"/api/v1/agents/{agent.public_id}/test/"
    answer = api_client.post(url, {"text": "hi"}, format="json").json()
    return AgentRun.objects.get(public_id=answer["run_id"])


@pytest.fixture
def put(api_client, run):
    def put(version=0, **content):
        content = {
            "run": str(run.public_id),
            "scope": "conversation",
            "key": "mood",
            "value": {"is": "good"},
            "version": version,
            **content,
        }
        return api_client.post(STATE, content, format="json")

    return put


def test_what_people_set_is_what_runners_read(put, run, api_client):
    response = put()
    assert response.status_code == 201, response.content
    row = response.json()
    assert (row["key"], row["value"], row["version"]) == ("mood", {"is": "good"}, 1)
    assert row["scope_key"] == scope_keys(run)["conversation"]
    assert read_state(row["scope_key"], "mood") == {"is": "good"}
    assert api_client.get(f"{STATE}{row['id']}/").json() == row
    act = AuditLog.objects.get(action="state set")
    assert act.after == {"state": "conversation mood", "version": 1}


def test_a_value_changes_only_from_the_version_that_was_seen(put, api_client):
    url = f"{STATE}{put().json()['id']}/"
    changed = api_client.patch(url, {"value": 2, "version": 1}, format="json")
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = api_client.patch(url, {"value": 3, "version": 1}, format="json")
    assert (stale.status_code, stale.json()["code"]) == (409, "version_conflict")
    assert stale.json()["version"] == 2
    assert api_client.get(url).json()["value"] == 2
    assert put(version=0).status_code == 409
    assert put(version=2, value=None).json()["version"] == 3
    assert api_client.get(url).json()["value"] is None


def test_if_match_is_honoured(put, api_client):
    url = f"{STATE}{put().json()['id']}/"
    tag = api_client.get(url)["ETag"]
    headers = {"If-Match": tag}
    change = {"value": 2, "version": 1}
    first = api_client.patch(url, change, format="json", headers=headers)
    assert first.status_code == 200
    change["version"] = 2
    second = api_client.patch(url, change, format="json", headers=headers)
    assert second.status_code == 412
    assert api_client.delete(url, headers=headers).status_code == 412
    assert api_client.delete(url).status_code == 204
    assert api_client.get(url).status_code == 404


def test_states_are_filtered(put, run, api_client):
    put(), put(key="b", scope="runner"), put(key="c", scope="actor")

    def found(**query):
        rows = api_client.get(STATE, query).json()["results"]
        return [row["key"] for row in rows]

    assert found() == ["c", "b", "mood"]
    assert found(scope="runner") == ["b"]
    assert found(key="mood", runner=run.runner_id) == ["mood"]
    assert found(scope_key=scope_keys(run)["actor"]) == ["c"]
    assert found(run=str(run.public_id)) == ["c", "b", "mood"]
    assert found(run=str(uuid4())) == []


def test_values_are_bounded(put):
    assert put(value="x" * limits().state_value_bytes).status_code == 400
    assert "value" in put(value="x" * limits().state_value_bytes).json()["errors"]
    assert not RunnerState.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "subject"},  # this run has none
        {"scope": "nobody"},
        {"run": "x"},
        {"run": "01920000-0000-7000-8000-000000000000"},
        {"version": -1},
        {"version": 2**40},
        {"key": ""},
        {"key": "x" * 201},
        {"unknown": 1},
    ],
)
def test_what_is_wrong_is_named(put, wrong):
    response = put(**wrong)
    assert response.status_code == 400
    assert set(response.json()["errors"]) == set(wrong)


def test_another_workspace_sees_and_sets_nothing(put, run, api_client):
    url = f"{STATE}{put().json()['id']}/"
    elsewhere = WorkspaceFactory.create()
    RunnerState.objects.update(workspace=elsewhere)
    assert api_client.get(STATE).json()["results"] == []
    for method in (api_client.get, api_client.patch, api_client.delete):
        assert method(url).status_code == 404
    AgentRun.objects.update(workspace=elsewhere)
    assert put(key="x").status_code == 400
    assert RunnerState.objects.count() == 1
