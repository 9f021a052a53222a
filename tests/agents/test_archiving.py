"""Deleting, archiving and bringing back agents; saves that change nothing."""

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.urls import reverse

from agents.models import Agent, AgentBinding, AgentVersion, RunnerDescriptor
from agents.services import (
    archive_agent,
    remove_agent,
    restore_version,
    save_agent,
    save_binding,
    unarchive_agent,
)
from langbot.core.models import AuditLog
from tests.factories import AgentFactory
from tests.runners.admin_rows import make_run

LIST = "admin:langbot_agents_agent_changelist"
BY_SLUG = "/api/v1/agents/by-slug/helper/"


@pytest.fixture
def helper(workspace):
    agent = AgentFactory.build(workspace=workspace, slug="helper", name="Helper")
    return save_agent(agent, author="ada")


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def said(response):
    return " ".join(str(message) for message in response.context["messages"])


def test_unused_agent_is_deleted_on_its_page(staff, helper):
    url = reverse("admin:langbot_agents_agent_delete", args=[helper.pk])
    assert "Helper" in staff.get(url).content.decode()
    staff.post(url, {"post": "yes"})
    assert not Agent.objects.exists()
    assert AuditLog.objects.filter(action="deleted", actor="root").exists()


def test_used_agent_is_archived_on_its_page(staff, helper):
    make_run(helper)
    url = reverse("admin:langbot_agents_agent_delete", args=[helper.pk])
    assert "archived instead" in staff.get(url).content.decode()
    answer = staff.post(url, {"post": "yes"}, follow=True)
    assert "1 agent has runs: it is archived" in said(answer)
    assert Agent.objects.get().archived_at is not None


def test_selected_agents_are_deleted_or_archived(staff, helper, workspace):
    make_run(helper)
    unused = save_agent(AgentFactory.build(workspace=workspace), author="ada")
    act = {"action": "delete_selected", "_selected_action": [helper.pk, unused.pk]}
    asked = staff.post(reverse(LIST), act)
    assert "archived instead" in asked.content.decode()
    assert Agent.objects.count() == 2
    answer = staff.post(reverse(LIST), {**act, "post": "yes"}, follow=True)
    assert "1 agent deleted." in said(answer)
    assert "1 agent has runs" in said(answer)
    assert Agent.objects.get().pk == helper.pk


def test_many_runs_are_not_loaded_to_archive_their_agent(
    helper, django_assert_max_num_queries
):
    for _number in range(3):
        make_run(helper)
    with django_assert_max_num_queries(15) as queries:
        assert remove_agent(helper, author="ada") is False
    read = [q["sql"] for q in queries if '"snapshot"' in q["sql"]]
    assert read == []


@pytest.mark.parametrize("enabled", [True, False])
def test_archived_agent_comes_back_as_its_version_says(helper, enabled):
    helper.enabled = enabled
    save_agent(helper, author="ada")
    archive_agent(helper, author="ada")
    for _twice in range(2):
        unarchive_agent(helper, author="bob")
    assert (helper.archived_at, helper.enabled) == (None, enabled)
    acts = AuditLog.objects.filter(actor="bob").values_list("action", flat=True)
    assert list(acts) == ["unarchived"]


def test_agent_whose_place_is_taken_stays_archived(helper, workspace):
    save_binding(AgentBinding(agent=helper, scope="workspace"))
    archive_agent(helper)
    other = save_agent(AgentFactory.build(workspace=workspace), author="ada")
    save_binding(AgentBinding(agent=other, scope="workspace"))
    with pytest.raises(ValidationError):
        unarchive_agent(helper)
    assert Agent.objects.get(pk=helper.pk).archived_at is not None


def test_version_of_an_archived_agent_is_not_restored(helper):
    archive_agent(helper)
    with pytest.raises(ValidationError, match="restore the agent first"):
        restore_version(helper, 1, author="ada")


def test_stale_copy_does_not_bring_an_agent_back(helper):
    stale = Agent.objects.get(pk=helper.pk)
    archive_agent(helper)
    stale.name = "Renamed"
    save_agent(stale, author="ada")
    assert Agent.objects.get(pk=helper.pk).archived_at is not None


def test_admin_says_that_an_agent_is_archived_and_restores_it(staff, helper):
    page = reverse("admin:langbot_agents_agent_change", args=[helper.pk])
    assert "is archived" not in staff.get(page).content.decode()
    archive_agent(helper)
    assert "is archived" in staff.get(page).content.decode()
    act = {"action": "unarchive", "_selected_action": [helper.pk]}
    answer = staff.post(reverse(LIST), act, follow=True)
    assert "1 agent restored." in said(answer)
    assert Agent.objects.get().archived_at is None


def test_by_slug_reads_an_agent_and_put_revives_it(api_client, helper):
    assert api_client.get(BY_SLUG).json()["id"] == str(helper.public_id)
    archive_agent(helper)
    assert api_client.get(BY_SLUG).status_code == 404
    content = {"name": "Again", "runner": helper.runner_id}
    answer = api_client.put(BY_SLUG, content, format="json")
    assert answer.status_code == 200
    assert answer.json()["id"] == str(helper.public_id)
    assert answer.json()["enabled"] is True
    assert api_client.get(BY_SLUG).json()["name"] == "Again"


def test_refused_put_leaves_the_agent_archived(api_client, helper):
    archive_agent(helper)
    content = {"name": "", "runner": helper.runner_id}
    assert api_client.put(BY_SLUG, content, format="json").status_code == 400
    assert Agent.objects.get().archived_at is not None


def test_put_of_the_same_content_makes_no_version(api_client, helper):
    content = {"name": "Helper", "runner": helper.runner_id}
    numbers = [
        api_client.put(BY_SLUG, content, format="json").json()["version"]
        for _twice in range(2)
    ]
    assert numbers[0] == numbers[1]
    assert AgentVersion.objects.count() == numbers[0]


def test_another_secret_is_a_change_and_the_same_one_is_none(workspace):
    RunnerDescriptor.objects.create(
        runner_id="plugin:acme/tools/main",
        plugin="acme/tools",
        kind="Runner",
        config_schema=[{"name": "api-key", "type": "secret"}],
    )
    agent = AgentFactory.build(workspace=workspace, runner_id="plugin:acme/tools/main")
    numbers = []
    for secret in ["one", "one", "two"]:
        agent.runner_config = {"api-key": secret}
        numbers.append(save_agent(agent, author="ada").version)
    assert numbers == [1, 1, 2]


def test_defaults_of_policies_are_no_change(helper):
    helper.delivery_policy = {"streaming": True, "reply": True}
    assert save_agent(helper, author="ada").version == 1
    helper.delivery_policy = {"streaming": False}
    assert save_agent(helper, author="ada").version == 2
