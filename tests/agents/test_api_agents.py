import json

import pytest

from agents.config_secrets import reveal_config
from agents.models import Agent, AgentVersion, RunnerDescriptor
from runners.models import AgentRun, EventLog
from tests.factories import AgentFactory

AGENTS = "/api/v1/agents/"
RUNNER = "plugin:acme/helper/default"
FIELDS = {
    "id",
    "slug",
    "name",
    "description",
    "enabled",
    "runner",
    "runner_config",
    "resource_policy",
    "state_policy",
    "delivery_policy",
    "approval_policy",
    "event_types",
    "session_scope",
    "workspace",
    "version",
}


@pytest.fixture
def runner(db):
    return RunnerDescriptor.objects.create(
        runner_id=RUNNER,
        plugin="acme/helper",
        kind="Runner",
        config_schema=[
            {"name": "api-key", "type": "secret"},
            {"name": "retries", "type": "integer", "default": 3},
        ],
    )


def body(**values):
    return {"slug": "helper", "name": "Helper", "runner": RUNNER, **values}


def create(client, **values):
    response = client.post(AGENTS, body(**values), format="json")
    assert response.status_code == 201, response.content
    return response.json()


def url_of(agent):
    return f"{AGENTS}{agent['id']}/"


def test_a_created_agent_reads_back(api_client, user, workspace):
    created = create(api_client, description="d", session_scope="actor")
    assert set(created) >= FIELDS
    assert created["workspace"] == "default"
    assert created["version"] == 1
    assert created["event_types"] == ["message.received"]
    assert api_client.get(url_of(created)).json() == created
    assert Agent.objects.get().owner == user


@pytest.mark.parametrize("name", ["jwt-secret", "basic-password", "api_key", "token"])
def test_a_secret_that_is_declared_as_text_is_one(api_client, runner, name):
    """As the official n8n plugin declares its own."""
    runner.config_schema = [
        {"name": name, "type": "string"},
        {"name": "output-key", "type": "string"},
    ]
    runner.save()
    config = {name: "in-the-open", "output-key": "response"}
    created = create(api_client, runner_config=config)
    shown = {name: "[redacted]", "output-key": "response"}
    assert created["runner_config"] == shown
    kept = Agent.objects.get().runner_config
    assert "in-the-open" not in json.dumps(kept)
    assert reveal_config(kept) == config
    versions = api_client.get(url_of(created) + "versions/").content.decode()
    assert "in-the-open" not in versions


def test_every_save_is_a_version_by_its_author(api_client, user):
    created = create(api_client)
    changed = api_client.patch(url_of(created), {"name": "Other"}, format="json")
    assert changed.json()["version"] == 2
    content = api_client.get(url_of(created) + "versions/?limit=1").json()
    assert [row["number"] for row in content["results"]] == [2]
    assert content["results"][0]["author"] == user.username
    older = api_client.get(content["next"]).json()
    assert [row["number"] for row in older["results"]] == [1]
    assert older["results"][0]["data"]["name"] == "Helper"


def test_versions_of_another_workspace_do_not_exist(api_client, agent):
    foreign = AgentFactory.create()
    url = f"{AGENTS}{foreign.public_id}/versions/"
    assert api_client.get(url).status_code == 404


def test_config_is_checked_against_the_runners_schema(api_client, runner):
    config = {"runner_config": {"retries": "many"}}
    refused = api_client.post(AGENTS, body(**config), format="json")
    assert refused.status_code == 400
    assert "retries" in str(refused.json()["errors"]["runner_config"])
    assert create(api_client)["runner_config"] == {"retries": 3}


def test_secrets_are_masked_and_survive_the_mask(api_client, runner):
    created = create(api_client, runner_config={"api-key": "s3cr3t"})
    stored = Agent.objects.get().runner_config["api-key"]
    assert "s3cr3t" not in str(created) + str(stored)
    api_client.patch(
        url_of(created), {"runner_config": created["runner_config"]}, format="json"
    )
    assert Agent.objects.get().runner_config["api-key"] == stored
    versions = api_client.get(url_of(created) + "versions/")
    assert b"s3cr3t" not in versions.content
    assert str(stored) not in versions.content.decode()


def test_a_taken_slug_is_refused(api_client, foreign_slug):
    for slug in (create(api_client)["slug"], foreign_slug):
        refused = api_client.post(AGENTS, body(slug=slug), format="json")
        assert refused.status_code == 400
        assert "slug" in refused.json()["errors"]


@pytest.fixture
def foreign_slug(db):
    return AgentFactory.create().slug


def test_put_by_slug_creates_then_replaces(api_client):
    url = f"{AGENTS}by-slug/helper/"
    content = {"name": "Helper", "runner": RUNNER, "description": "d"}
    first = api_client.put(url, content, format="json")
    assert first.status_code == 201
    assert first.json()["slug"] == "helper"
    content = {"name": "Renamed", "runner": RUNNER}
    second = api_client.put(url, content, format="json")
    assert second.status_code == 200
    assert second.json()["id"] == first.json()["id"]
    assert second.json()["name"] == "Renamed"
    assert second.json()["description"] == ""  # unnamed fields get their defaults
    assert second.json()["version"] == 2
    stale = api_client.put(
        url, content, format="json", headers={"If-Match": first["ETag"]}
    )
    assert stale.status_code == 412


def test_put_by_slug_of_another_workspace_is_refused(api_client, foreign_slug):
    url = f"{AGENTS}by-slug/{foreign_slug}/"
    refused = api_client.put(url, {"name": "x", "runner": RUNNER}, format="json")
    assert refused.status_code == 400
    assert Agent.objects.get(slug=foreign_slug).name != "x"


def test_an_unused_agent_is_deleted(api_client):
    created = create(api_client)
    assert api_client.delete(url_of(created)).status_code == 204
    assert not Agent.objects.exists()
    assert not AgentVersion.objects.exists()


def test_a_used_agent_is_archived(api_client):
    created = create(api_client)
    answer = api_client.post(url_of(created) + "test/", {"text": "hi"}, format="json")
    assert answer.status_code == 201
    assert api_client.delete(url_of(created)).status_code == 204
    agent = Agent.objects.get()
    assert agent.archived_at is not None
    assert api_client.get(url_of(created)).status_code == 404
    assert api_client.get(AGENTS).json()["results"] == []
    run = api_client.get(f"/api/v1/runs/{answer.json()['run_id']}/")
    assert run.json()["agent"] == created["id"]


def test_a_test_message_answers_like_a_message(api_client, agent):
    url = f"{AGENTS}{agent.public_id}/test/"
    response = api_client.post(url, {"text": "hello"}, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert answer["status"] == "started"
    named = {"status", "run_id", "message_id", "conversation", "token"}
    assert set(answer) == named
    run = AgentRun.objects.get()
    assert answer["run_id"] == str(run.public_id)
    assert run.agent == agent
    assert EventLog.objects.get().input["text"] == "hello"
    assert response["Location"].endswith(f"/api/v1/runs/{run.public_id}/")


@pytest.mark.parametrize(
    "content", [{}, {"text": ""}, {"text": None}, {"text": "x" * 32_001}, {"text": []}]
)
def test_a_test_message_needs_text(api_client, agent, content):
    url = f"{AGENTS}{agent.public_id}/test/"
    response = api_client.post(url, content, format="json")
    assert response.status_code == 400
    assert "text" in response.json()["errors"]
    assert not EventLog.objects.exists()


def test_a_disabled_agent_takes_no_message(api_client, agent):
    Agent.objects.update(enabled=False)
    url = f"{AGENTS}{agent.public_id}/test/"
    response = api_client.post(url, {"text": "hi"}, format="json")
    assert response.status_code == 409
    assert response.json()["code"] == "agent_unavailable"


def test_what_the_host_decides_is_not_taken_from_a_body(api_client):
    """LB-105: an update leaves protected fields as they are."""
    created = create(api_client)
    protected = {
        "id": "01920000-0000-7000-8000-000000000000",
        "version": 99,
        "workspace": "elsewhere",
        "created_at": "2001-01-01T00:00:00Z",
    }
    body = {**protected, "name": "Renamed"}
    changed = api_client.patch(url_of(created), body, format="json").json()
    assert changed["name"] == "Renamed"
    assert {name: changed[name] for name in protected} == {
        **{name: created[name] for name in protected},
        "version": 2,
    }


def test_a_saved_agent_names_its_runner_once_and_no_old_way(api_client):
    """LB-170: `runner` and `runner_config`, and nothing of old pipelines."""
    created = create(api_client)
    stored = Agent.objects.get()
    assert (created["runner"], created["runner_config"]) == (
        stored.runner_id,
        stored.runner_config,
    )
    for old in ({"ai": {"runner": {"runner": "local-agent"}}}, {"runner_id": "a"}):
        refused = api_client.patch(url_of(created), old, format="json")
        assert refused.status_code == 400
        assert set(old) == set(refused.json()["errors"])
