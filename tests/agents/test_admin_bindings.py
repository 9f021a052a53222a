"""The admin's dry run: who would answer, and why each other binding would not."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from agents.models import Agent, AgentBinding
from agents.services import save_agent, save_binding
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.langbot.admin_site_rows import populate
from tests.support.posted import posted

URL = "admin:langbot_agents_agentbinding_who"


@pytest.fixture
def staff(client, db):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def ask(client, **event):
    workspace = Agent.objects.order_by("pk")[0].workspace_id
    given = {"workspace": workspace, "type": "message.received", **event}
    answer = client.get(reverse(URL), given)
    assert answer.status_code == 200
    return answer


def bind(slug, **fields):
    workspace = Agent.objects.order_by("pk")[0].workspace
    agent = save_agent(AgentFactory.build(workspace=workspace, slug=slug), author="ada")
    return save_binding(AgentBinding(agent=agent, **fields))


def test_winner_and_the_reason_of_each_loser(staff):
    bind("wide", scope="workspace")
    bind("filtered", scope="workspace", priority=3, filters={"actor": "ada"})
    bind("elsewhere", scope="bot", scope_ref="other-bot")
    off = bind("off", scope="workspace", priority=9, enabled=False)
    answer = ask(staff, bot="hook", actor="ben")
    assert answer.context["winner"].agent == "Helper"
    reasons = {row.agent: row.reason for row in answer.context["lost"]}
    assert reasons == {
        "Wide": "a more specific or higher-priority binding won",
        "Filtered": "its filter on actor does not match",
        "Elsewhere": "it is for another bot",
        "Off": "it is disabled",
    }
    link = reverse("admin:langbot_agents_agentbinding_change", args=[off.pk])
    assert link in answer.content.decode()


def test_an_address_may_leave_everything_else_to_the_form(staff):
    answer = staff.get(reverse(URL), {"bot": "hook"})
    assert answer.context["winner"].agent == "Helper"
    assert answer.context["form"]["facts"].value() == "{}"
    assert "null" not in answer.content.decode().split("More facts")[1][:1500]


def test_facts_of_the_event_are_compared(staff):
    bind("vip", scope="workspace", priority=3, filters={"actor": "ada", "tier": "*"})
    answer = ask(staff, actor="ada", facts='{"tier": "gold"}')
    assert answer.context["winner"].agent == "Vip"


def test_nobody_and_ties_are_named(staff):
    assert "no binding matches" in ask(staff).content.decode()
    one = bind("one", scope="workspace")
    two = bind("two", scope="workspace", priority=1)
    AgentBinding.objects.filter(pk=two.pk).update(priority=one.priority)
    answer = ask(staff)
    assert {row.agent for row in answer.context["tied"]} == {"One", "Two"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("facts", "[1]"), ("facts", "{"), ("type", ""), ("bot", "no-such-bot")],
)
def test_wrong_input_is_shown_at_its_field(staff, field, value):
    answer = ask(staff, **{field: value})
    assert list(answer.context["form"].errors) == [field]


def test_other_workspaces_are_neither_offered_nor_named(staff, client):
    other: Any = WorkspaceFactory(slug="other")
    BotFactory(workspace=other, slug="secret-bot")
    foreign = save_agent(AgentFactory.build(workspace=other, name="Foreign"), author="")
    save_binding(AgentBinding(agent=foreign, scope="global"))
    person = get_user_model().objects.create_user("vera", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view"))
    Agent.objects.get(slug="helper").workspace.memberships.create(user=person)
    client.force_login(person)
    body = ask(client, bot="hook").content.decode()
    assert "secret-bot" not in body
    assert "Foreign" not in body
    assert "a global binding of another workspace" in body
    refused = client.get(reverse(URL), {"workspace": other.pk, "type": "x"})
    assert list(refused.context["form"].errors) == ["workspace"]


def test_page_needs_the_permission_to_see_bindings(client, staff):
    client.force_login(get_user_model().objects.create_user("n", is_staff=True))
    assert client.get(reverse(URL)).status_code == 403


def test_list_filters_by_bot(staff):
    bind("wide", scope="workspace")
    url = reverse("admin:langbot_agents_agentbinding_changelist")
    answer = staff.get(url, {"bot": "hook"})
    assert [row.agent.slug for row in answer.context["cl"].result_list] == ["helper"]
    assert reverse(URL) in answer.content.decode()


def page_of(binding):
    return reverse("admin:langbot_agents_agentbinding_change", args=[binding.pk])


def form_of(client, binding):
    body = client.get(page_of(binding)).content.decode()
    data = posted(body[body.index('id="agentbinding_form"') :])
    for name in ("_addanother", "_continue", "q"):
        data.pop(name, None)
    return data


def save(client, binding, **changes):
    data = form_of(client, binding)
    for name, value in changes.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    answer = client.post(page_of(binding), dict(data.lists()))
    if answer.status_code == 302:
        binding.refresh_from_db()
    return answer


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {
            "resource_policy": {
                "tools": ["a"],
                "skills": ["s"],
                "plugin_storage": True,
            },
            "state_policy": {"scopes": ["actor"], "enabled": True},
            "delivery_policy": {"reply": False},
            "filters": {"actor": ["ada", "ben"], "n": 3, "text": "3", "deep": {"a": 1}},
        },
    ],
)
def test_untouched_binding_stays_as_it_was_written(staff, stored):
    binding = AgentBinding.objects.get()
    for name, value in stored.items():
        setattr(binding, name, value)
    binding.save()
    before = AgentBinding.objects.values().get(pk=binding.pk)
    assert save(staff, binding).status_code == 302
    assert AgentBinding.objects.values().get(pk=binding.pk) == before


def test_limits_are_typed_and_what_they_do_not_name_stays(staff):
    binding = AgentBinding.objects.get()
    binding.resource_policy = {"skills": ["s"], "tools": ["old"]}
    binding.save()
    answer = save(
        staff,
        binding,
        withheld=["models", "plugin_storage"],
        only_tools="search\nmail",
        stateless="on",
        own_delivery="on",
        delivery_maximum="80",
        filters='actor = ada*\ntier = ["gold", "silver"]\nvip = true\nid = "7"',
    )
    assert answer.status_code == 302, answer.context["errors"]
    assert binding.resource_policy == {
        "skills": ["s"],
        "tools": ["search", "mail"],
        "models": [],
        "plugin_storage": False,
    }
    assert binding.state_policy == {"enabled": False}
    assert (binding.delivery_policy or {})["maximum_message_size"] == 80
    assert binding.filters == {
        "actor": "ada*",
        "tier": ["gold", "silver"],
        "vip": True,
        "id": "7",
    }
    again = save(staff, binding, withheld=[], only_tools="", stateless=[])
    assert again.status_code == 302
    assert (binding.resource_policy, binding.state_policy) == ({"skills": ["s"]}, None)
    assert save(staff, binding, own_delivery=[]).status_code == 302
    assert binding.delivery_policy is None


def test_filter_without_a_value_is_refused_at_its_field(staff):
    answer = save(staff, AgentBinding.objects.get(), filters="actor")
    assert list(answer.context["adminform"].form.errors) == ["filters"]
