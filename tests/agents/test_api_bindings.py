import pytest

from agents.models import AgentBinding
from tests.factories import AgentFactory, BotFactory

BINDINGS = "/api/v1/bindings/"


def post(client, **values):
    return client.post(BINDINGS, values, format="json")


def test_a_binding_reads_back_and_changes(api_client, agent):
    bot = BotFactory.create(workspace=agent.workspace)
    created = post(
        api_client,
        agent=agent.slug,
        scope="bot",
        scope_ref=bot.slug,
        filters={"actor": "ada"},
    )
    assert created.status_code == 201, created.content
    row = created.json()
    assert row["agent"] == str(agent.public_id)
    assert row["event_pattern"] == "message.received"
    url = f"{BINDINGS}{row['id']}/"
    assert api_client.get(url).json() == row
    changed = api_client.patch(url, {"priority": 5, "enabled": False}, format="json")
    assert changed.json()["priority"] == 5
    assert api_client.delete(url).status_code == 204
    assert not AgentBinding.objects.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"agent": "nobody"},
        {"agent": 7},
        {"agent": {}},
        {"scope": "galaxy"},
        {"scope": "bot", "scope_ref": "no-such-bot"},
        {"scope": "bot", "scope_ref": ""},
        {"scope": "workspace", "scope_ref": "web"},
        {"event_pattern": "white space"},
        {"event_pattern": ""},
        {"filters": []},
        {"priority": 2**40},
        {"priority": "high"},
        {"resource_policy": {"unknown": 1}},
        {"state_policy": "none"},
    ],
)
def test_wrong_fields_are_named(api_client, agent, values):
    response = post(api_client, **{"agent": agent.slug, "scope": "workspace", **values})
    assert response.status_code == 400, response.content
    assert set(values) & set(response.json()["errors"])
    assert not AgentBinding.objects.exists()


def test_a_tie_is_refused_on_create_and_on_change(api_client, agent):
    other = AgentFactory.create(workspace=agent.workspace)
    assert post(api_client, agent=agent.slug, scope="workspace").status_code == 201
    tied = post(api_client, agent=other.slug, scope="workspace")
    assert tied.status_code == 400
    assert "priority" in tied.json()["errors"]
    fine = post(api_client, agent=other.slug, scope="workspace", priority=1)
    assert fine.status_code == 201
    url = f"{BINDINGS}{fine.json()['id']}/"
    assert api_client.patch(url, {"priority": 0}, format="json").status_code == 400
    assert api_client.get(url).json()["priority"] == 1


def test_an_agent_of_another_workspace_cannot_be_bound(api_client, workspace):
    foreign = AgentFactory.create()
    for name in (foreign.slug, str(foreign.public_id)):
        assert post(api_client, agent=name, scope="workspace").status_code == 400


def test_only_superusers_bind_every_workspace(api_client, agent, user):
    refused = post(api_client, agent=agent.slug, scope="global")
    assert refused.status_code == 403
    user.is_superuser = True
    user.save()
    created = post(api_client, agent=agent.slug, scope="global")
    assert created.status_code == 201
    user.is_superuser = False
    user.save()
    url = f"{BINDINGS}{created.json()['id']}/"
    assert api_client.delete(url).status_code == 403
    assert api_client.patch(url, {"priority": 3}, format="json").status_code == 403


def test_a_list_asks_the_same_few_questions(
    api_client, agent, django_assert_max_num_queries
):
    for priority in range(30):
        AgentBinding.objects.create(agent=agent, scope="workspace", priority=priority)
    api_client.get(BINDINGS)
    with django_assert_max_num_queries(4):
        found = api_client.get(f"{BINDINGS}?agent={agent.slug}").json()["results"]
    assert len(found) == 30
