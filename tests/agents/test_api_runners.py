from uuid import uuid4

import pytest

from agents.models import PluginConnection, RunnerDescriptor
from agents.registry.connections import Origin, register
from agents.registry.tokens import create_plugin_token
from runners.protocol.manifest import parse_container
from tests.factories import WorkspaceFactory
from tests.support.plugin_manifests import plugin_container, runner_component

RUNNERS = "/api/v1/runners/"


def descriptor(name, **values):
    return RunnerDescriptor.objects.create(
        runner_id=f"plugin:acme/{name}/default",
        plugin=f"acme/{name}",
        kind="Runner",
        label={"en_US": name},
        **values,
    )


def connect(row, workspace, status="online"):
    token, _ = create_plugin_token("tests", workspace=workspace, plugins=("*",))
    return PluginConnection.objects.create(
        token=token,
        workspace=workspace,
        plugin=row.plugin,
        runners=[row.runner_id],
        web_node="n",
        status=status,
    )


def ids(client):
    results = client.get(RUNNERS).json()["results"]
    return {row["id"]: row["online"] for row in results}


def test_a_runner_is_found_by_its_whole_id(api_client):
    row = descriptor("one", last_error="the manifest is invalid")
    content = api_client.get(f"{RUNNERS}{row.runner_id}/").json()
    assert content["id"] == row.runner_id
    assert content["last_error"] == "the manifest is invalid"
    assert content["online"] is False
    assert {"label", "capabilities", "permissions", "config_schema"} <= set(content)
    assert api_client.get(f"{RUNNERS}plugin:acme/none/default/").status_code == 404


def test_online_says_whether_a_connection_serves_us(api_client, workspace):
    shared, own, gone = descriptor("shared"), descriptor("own"), descriptor("gone")
    elsewhere = descriptor("elsewhere")
    connect(shared, None)
    connect(own, workspace)
    connect(gone, workspace, "offline")
    connect(elsewhere, WorkspaceFactory.create(slug="elsewhere"))
    assert ids(api_client) == {
        shared.runner_id: True,
        own.runner_id: True,
        gone.runner_id: False,
        elsewhere.runner_id: False,
    }


def test_runners_of_another_workspace_do_not_exist(api_client):
    row = descriptor("theirs", workspace=WorkspaceFactory.create(slug="elsewhere"))
    assert ids(api_client) == {}
    assert api_client.get(f"{RUNNERS}{row.runner_id}/").status_code == 404


@pytest.mark.parametrize("count", [1, 40])
def test_a_list_asks_the_same_few_questions(
    api_client, count, django_assert_max_num_queries
):
    for number in range(count):
        descriptor(f"r{number}")
    api_client.get(RUNNERS)
    with django_assert_max_num_queries(5):
        assert len(ids(api_client)) == count


def test_settings_have_ids_and_are_listed_once_however_often_one_registers(
    api_client, workspace
):
    config = [{"name": "url", "type": "string"}, {"name": "key", "id": "own"}]
    runner = runner_component("Runner", config=config)
    manifest = parse_container(plugin_container("acme", "bot", [runner]))
    token, _ = create_plugin_token("acme/bot", workspace=workspace, plugins=("*",))
    for _time in range(2):
        register(token, manifest, Origin(uuid4(), "node", "test"), {})
    (listed,) = api_client.get(RUNNERS).json()["results"]
    ids = [item["id"] for item in listed["config_schema"]]
    assert ids == ["plugin:acme/bot/default.url", "own"]


def test_an_agent_has_no_runner_by_default(api_client):
    assert api_client.get(RUNNERS).json()["results"] == []
    given = {"slug": "a", "name": "A"}
    answer = api_client.post("/api/v1/agents/", given, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["runner"]
