"""An agent's pages: notices, what it may use, versions side by side, its test."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse

from agents.models import (
    Agent,
    AgentBinding,
    AgentVersion,
    Model,
    PluginConnection,
    RunnerDescriptor,
)
from agents.services import archive_agent, reveal_config, save_agent
from tests.factories import AgentFactory, WorkspaceFactory
from tests.langbot.admin_site_rows import RUNNER, SECRET, populate
from tests.support.posted import posted

LIST = "admin:langbot_agents_agent_changelist"


@pytest.fixture
def staff(client, db):
    populate()
    root = get_user_model().objects.create_superuser("root", password="x")
    Agent.objects.get().workspace.memberships.create(user=root)
    client.force_login(root)
    return client


@pytest.fixture
def agent(staff):
    return Agent.objects.get()


def page(client, name, agent, **given):
    url = reverse(f"admin:langbot_agents_agent_{name}", args=[agent.pk])
    answer = client.get(url, given)
    assert answer.status_code == 200
    return answer


def notices(client, agent):
    return [notice.text for notice in page(client, "change", agent).context["notices"]]


def test_agent_that_is_ready_has_no_notice(staff, agent):
    assert notices(staff, agent) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: PluginConnection.objects.update(status="offline"), "is offline"),
        (lambda: RunnerDescriptor.objects.all().delete(), "No plugin has ever offered"),
        (lambda: RunnerDescriptor.objects.update(last_error="bad"), "refuses"),
        (lambda: RunnerDescriptor.objects.update(enabled=False), "is switched off"),
        (lambda: Agent.objects.update(enabled=False), "is disabled"),
        (lambda: AgentBinding.objects.all().delete(), "No binding leads"),
        (
            lambda: RunnerDescriptor.objects.update(
                workspace=WorkspaceFactory(slug="other")
            ),
            "belongs to another workspace",
        ),
    ],
)
def test_what_keeps_an_agent_from_answering_is_said_plainly(
    staff, agent, change, words
):
    change()
    (notice,) = notices(staff, agent)
    assert words in notice
    for name in ("change", "test"):
        body = page(staff, name, agent).content.decode()
        assert words in body


def test_archived_agent_says_so(staff, agent):
    archive_agent(agent)
    assert "is archived" in notices(staff, agent)[0]


def test_what_it_may_use_is_what_a_run_would_get(staff, agent):
    RunnerDescriptor.objects.update(
        permissions={"models": ["invoke"], "storage": ["plugin"], "history": []}
    )
    model = Model.objects.get()
    config = {**agent.runner_config, "model": {"primary": str(model.public_id)}}
    agent.runner_config = config
    save_agent(agent, author="ada")
    shown = page(staff, "change", agent).context["allowances"]
    found = {allowance.label: allowance.values for allowance in shown}
    assert found["Models"] == ["Cloud · small-model (ask models)"]
    assert found["Storage"] == ["Storage of its plugin"]
    assert found["History"] == []
    Model.objects.update(enabled=False)
    shown = page(staff, "change", agent).context["allowances"]
    assert {one.label: one.values for one in shown}["Models"] == []


def test_page_shows_the_stored_agent_beside_a_refused_form(staff, agent):
    url = reverse("admin:langbot_agents_agent_change", args=[agent.pk])
    answer = staff.post(url, {"name": ""})
    assert answer.context["agent"].name == "Helper"


def rename(agent, *names):
    for name in names:
        agent.name = name
        save_agent(agent, author="ada")


def compare(client, agent, **given):
    answer = page(client, "versions", agent, **given)
    return answer, {one.label: one.lines for one in answer.context["differences"]}


def test_last_two_versions_are_compared_at_first(staff, agent):
    rename(agent, "Two", "Three")
    answer, found = compare(staff, agent)
    assert (answer.context["left"].number, answer.context["right"].number) == (2, 3)
    ((line,),) = found.values()
    assert (line.left, line.right, line.is_same) == ("Two", "Three", False)


def test_any_two_versions_are_compared_in_either_direction(staff, agent):
    prompt = [{"role": "system", "content": "Be kind.\nBe brief."}]
    agent.runner_config = {**agent.runner_config, "prompt": prompt, "timeout": 90}
    save_agent(agent, author="ada")
    rename(agent, "Three")
    _answer, found = compare(staff, agent, **{"from": 3, "to": 1})
    assert set(found) == {"Name", "prompt", "timeout"}
    assert [line.left for line in found["prompt"]] == [
        "System:",
        "Be kind.",
        "Be brief.",
    ]
    assert [line.right for line in found["prompt"]] == ["—", None, None]
    assert [line.right for line in found["timeout"]] == ["60"]  # its default
    assert [line.left for line in found["timeout"]] == ["90"]


def test_defaults_that_were_written_out_are_no_difference(staff, agent):
    agent.delivery_policy = {"streaming": False}
    save_agent(agent, author="ada")
    _answer, found = compare(staff, agent)
    assert list(found) == ["Delivery: Stream replies"]
    ((line,),) = found.values()
    assert (line.left, line.right) == ("yes", "no")


def test_a_version_older_than_a_field_reads_as_its_default(staff, agent):
    data = AgentVersion.objects.get(agent=agent).data
    AgentVersion.objects.all()._raw_delete(using="default")
    del data["multitask_strategy"]
    AgentVersion.objects.create(agent=agent, number=1, data=data)
    rename(agent, "Two")
    _answer, found = compare(staff, agent)
    assert list(found) == ["Name"]
    second = AgentVersion.objects.get(agent=agent, number=2)
    there = reverse("admin:langbot_agents_agentversion_change", args=[second.pk])
    assert "multitask_strategy" not in changed_names(staff.get(there))
    agent.multitask_strategy = "reject"
    save_agent(agent, author="ada")
    _answer, found = compare(staff, agent, **{"from": 1, "to": 3})
    (line,) = found["Second message"]
    assert (line.left, line.right) == ("enqueue", "reject")


def changed_names(response):
    """Return what a version's page says of the version before."""
    body = response.content.decode()
    return body.partition("changed since the version before")[2][:1000]


@pytest.mark.parametrize("given", ["99", "0", "x", "9" * 30, "-1"])
def test_version_that_does_not_exist_is_named(staff, agent, given):
    rename(agent, "Two")
    answer = page(staff, "versions", agent, to=given)
    assert answer.status_code == 200
    if given.isdecimal() and len(given) < 10:
        assert "There is no such version." in answer.content.decode()


def test_comparison_shows_no_secret(staff, agent):
    agent.runner_config = {**agent.runner_config, "api-key": "another secret"}
    save_agent(agent, author="ada")
    answer, found = compare(staff, agent)
    assert found == {}
    body = answer.content.decode()
    assert "say the same" in body
    assert SECRET not in body
    assert "another secret" not in body


def test_version_is_restored_from_the_comparison(staff, agent):
    rename(agent, "Two")
    body = page(staff, "versions", agent).content.decode()
    first = AgentVersion.objects.get(agent=agent, number=1)
    restore = reverse("admin:langbot_agents_agentversion_restore", args=[first.pk])
    assert restore in body
    staff.post(restore)
    agent.refresh_from_db()
    assert (agent.name, agent.version) == ("Helper", 3)


def test_test_page_names_addresses_that_exist(staff, agent):
    answer = page(staff, "test", agent)
    addresses = answer.context["addresses"]
    for name in ("test", "again", "stream", "run", "cancel", "queued"):
        assert resolve(addresses[name])
    asked = staff.post(
        addresses["test"], json.dumps({"text": "hi"}), content_type="application/json"
    )
    assert asked.status_code == 201
    run = asked.json()["run_id"]
    assert staff.get(addresses["run"].replace(addresses["any"], run)).status_code == 200


def test_agent_of_a_workspace_one_does_not_work_in_cannot_be_tested(staff):
    other = AgentFactory(workspace=WorkspaceFactory(slug="other"))
    answer = page(staff, "test", other)
    assert "you do not work" in answer.content.decode()
    assert "data-lb-say" not in answer.content.decode()


@pytest.mark.parametrize("name", ["test", "versions", "change"])
def test_pages_of_other_workspaces_do_not_exist(client, staff, agent, name):
    from django.contrib.auth.models import Permission

    foreign: Any = AgentFactory(workspace=WorkspaceFactory(slug="other"))
    person = get_user_model().objects.create_user("vera", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view"))
    agent.workspace.memberships.create(user=person)
    client.force_login(person)
    url = reverse(f"admin:langbot_agents_agent_{name}", args=[foreign.pk])
    assert client.get(url).status_code == 404
    assert page(client, name, agent).status_code == 200


def test_list_names_runners_in_the_readers_language_and_their_trouble(staff, agent):
    body = staff.get(reverse(LIST)).content.decode()
    assert "Toolbox" in body
    assert "offline" not in body
    PluginConnection.objects.update(status="offline")
    assert "offline" in staff.get(reverse(LIST)).content.decode()
    staff.cookies["django_language"] = "zh-hans"
    assert "工具箱" in staff.get(reverse(LIST)).content.decode()


def test_list_of_agents_takes_few_queries(staff, agent):
    for _number in range(30):
        AgentFactory(workspace=agent.workspace, runner_id=RUNNER)
    with CaptureQueriesContext(connection) as queries:
        body = staff.get(reverse(LIST)).content.decode()
    assert body.count("Toolbox") >= 30
    assert len(queries) <= 15


def test_prompt_takes_any_number_of_messages_in_order(staff, agent):
    url = reverse("admin:langbot_agents_agent_change", args=[agent.pk])
    body = staff.get(url).content.decode()
    data = posted(body[body.index('id="agent_form"') :])
    said = [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", ""),
    ]
    for number, (role, text) in enumerate(said):
        data[f"config__prompt_{number}_0"] = role
        data[f"config__prompt_{number}_1"] = text.replace("\n", "\r\n")
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    assert staff.post(url, dict(data.lists())).status_code == 302
    agent.refresh_from_db()
    assert reveal_config(agent.runner_config)["prompt"] == [
        {"role": role, "content": text} for role, text in said if text
    ]
    body = staff.get(url).content.decode()
    assert body.count('class="lb-message"') == 4  # and an empty one
    data["config__prompt_0_0"] = "robot"
    answer = staff.post(url, dict(data.lists()))
    assert "Choose a role" in str(answer.context["errors"])
