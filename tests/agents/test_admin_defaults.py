"""A new agent begins with the first runner that is there (LB-104)."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.models import Agent, PluginConnection, RunnerDescriptor
from agents.registry.tokens import create_plugin_token
from tests.factories import WorkspaceFactory
from tests.support.posted import posted

ADD = "admin:langbot_agents_agent_add"
FIRST, SECOND = "plugin:acme/a/first", "plugin:acme/b/second"
SCHEMA: list[dict[str, Any]] = [
    {"name": "greeting", "type": "string", "default": "Good day"},
    {"name": "limit", "type": "integer", "default": 7},
]


@pytest.fixture
def staff(client, workspace):
    root = get_user_model().objects.create_superuser("root", password="x")
    workspace.memberships.create(user=root)
    client.force_login(root)
    return client


def offer(runner_id, *, status="online", workspace=None, **fields):
    plugin = runner_id.removeprefix("plugin:").rpartition("/")[0]
    fields = {"config_schema": SCHEMA, "workspace": workspace, **fields}
    RunnerDescriptor.objects.create(
        runner_id=runner_id, plugin=plugin, kind="Runner", **fields
    )
    PluginConnection.objects.create(
        token=create_plugin_token(plugin)[0],
        plugin=plugin,
        runners=[runner_id],
        web_node="n1",
        status=status,
    )


def shown(client, **given):
    answer = client.get(reverse(ADD), given)
    assert answer.status_code == 200
    return posted(answer.content.decode())


def test_the_first_runner_is_chosen_with_its_defaults(staff, workspace):
    offer(FIRST)
    offer(SECOND, config_schema=[])
    data = shown(staff)
    assert data["runner_id"] == data["grown_for"] == FIRST
    assert data["config__greeting"] == "Good day"
    assert data["config__limit"] == "7"
    data["name"], data["slug"] = "New", "new"
    assert staff.post(reverse(ADD), data).status_code == 302
    agent = Agent.objects.get()
    assert agent.runner_id == FIRST
    assert agent.runner_config == {"greeting": "Good day", "limit": 7}


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": "offline"},
        {"enabled": False},
        {"last_error": "its manifest is wrong"},
    ],
)
def test_a_runner_that_is_not_there_is_passed_over(staff, trouble):
    offer(FIRST, **trouble)
    assert shown(staff)["runner_id"] == ""
    offer(SECOND)
    assert shown(staff)["runner_id"] == SECOND


def test_without_a_runner_the_form_is_as_it_was(staff):
    page = staff.get(reverse(ADD)).content.decode()
    data = posted(page)
    assert data["runner_id"] == data["grown_for"] == ""
    assert not [name for name in data if name.startswith("config__")]
    assert "install a plugin that brings one" in page
    assert reverse("admin:langbot_agents_plugin_changelist") in page


def test_nobody_is_told_to_install_what_is_there(staff):
    offer(FIRST, status="offline")
    page = staff.get(reverse(ADD)).content.decode()
    assert "Choose one first" in page
    assert "install a plugin" not in page


def test_settings_have_their_ids_once(staff):
    schema = [{**item, "id": f"{FIRST}.{item['name']}"} for item in SCHEMA]
    offer(FIRST, config_schema=schema)
    offer(SECOND, config_schema=[{"name": "greeting", "id": f"{SECOND}.greeting"}])
    page = staff.get(reverse(ADD)).content.decode()
    assert page.count(f'data-setting="{FIRST}.greeting"') == 1
    assert page.count(f'data-setting="{FIRST}.limit"') == 1
    assert f'data-setting="{SECOND}' not in page


def test_a_schema_that_nobody_can_read_stops_no_form(staff):
    offer(FIRST, config_schema=[{"no": "name"}, 7])
    assert shown(staff)["runner_id"] in {"", FIRST}


def test_who_chose_another_runner_gets_that_one(staff):
    offer(FIRST)
    offer(SECOND)
    assert shown(staff, runner_id=SECOND)["grown_for"] == SECOND
    assert shown(staff, runner_id="")["grown_for"] == ""


def test_a_refused_form_keeps_what_was_posted(staff):
    offer(FIRST)
    data = shown(staff)
    data["runner_id"] = data["grown_for"] = ""
    answer = staff.post(reverse(ADD), data)
    assert answer.status_code == 200
    assert not Agent.objects.exists()
    assert posted(answer.content.decode())["runner_id"] == ""


def test_an_agent_that_exists_keeps_its_runner(staff, workspace):
    offer(FIRST)
    agent = Agent.objects.create(
        workspace=workspace, slug="a", name="A", runner_id="plugin:x/y/z"
    )
    page = reverse("admin:langbot_agents_agent_change", args=[agent.pk])
    data = posted(staff.get(page).content.decode())
    assert data["runner_id"] == data["grown_for"] == "plugin:x/y/z"


def test_a_runner_of_another_workspace_is_nobody_elses_default(client, workspace, user):
    offer(FIRST, workspace=WorkspaceFactory.create(slug="elsewhere"))
    user.is_staff = True
    user.save()
    client.force_login(user)
    assert shown(client)["runner_id"] == ""
    offer(SECOND, workspace=workspace)
    assert shown(client)["runner_id"] == SECOND
