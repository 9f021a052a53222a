"""Saving bindings: what can never be resolved is refused at once."""

import pytest
from django.core.exceptions import ValidationError

from agents.models import AgentBinding
from agents.services import delete_binding, save_binding
from langbot.core.models import AuditLog
from tests.agents.test_services import in_threads
from tests.factories import AgentFactory, WorkspaceFactory


@pytest.fixture
def agents(workspace):
    return AgentFactory.create_batch(2, workspace=workspace, event_types=["*"])


def bind(agent, pattern="message.received", **fields):
    fields = {"scope": "workspace", **fields}
    return save_binding(
        AgentBinding(agent=agent, event_pattern=pattern, **fields), author="ada"
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("message.received", "message.received"),
        ("message.*", "*"),
        ("message.*", "*.received"),
        ("a?c", "ab*"),
        ("[ab]*", "b*"),
    ],
)
def test_tie_is_refused(agents, one, two):
    bind(agents[0], one)
    with pytest.raises(ValidationError) as caught:
        bind(agents[1], two)
    assert caught.value.message_dict.keys() == {"priority"}
    assert AgentBinding.objects.count() == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("message.received", "message.*"),
        ("message.received", "message.edited"),
        ("message.*", "group.*"),
        ("a?", "a??"),
    ],
)
def test_patterns_that_never_tie_are_saved(agents, one, two):
    bind(agents[0], one)
    bind(agents[1], two)
    assert AgentBinding.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        ({"priority": 1}, {"priority": 2}),
        ({"scope": "bot", "scope_ref": "a"}, {"scope": "bot", "scope_ref": "b"}),
        ({"scope": "workspace"}, {"scope": "global"}),
        ({"enabled": False}, {}),
        ({"filters": {"group": "a"}}, {"filters": {"group": "b"}}),
        ({"filters": {"group": ["a", "b"]}}, {"filters": {"group": ["c*"]}}),
        ({"filters": {"group": 1}}, {"filters": {"group": 2}}),
        ({"scope": "agent"}, {"scope": "agent"}),
    ],
)
def test_what_keeps_bindings_apart(agents, fields, others):
    bind(agents[0], **fields)
    bind(agents[1], **others)
    assert AgentBinding.objects.count() == 2


def test_filters_on_different_facts_may_tie(agents):
    bind(agents[0], filters={"group": "a"})
    with pytest.raises(ValidationError):
        bind(agents[1], filters={"thread": "b"})


def test_agents_that_take_different_events_do_not_tie(agents):
    one, two = agents
    one.event_types, two.event_types = ["message.received"], ["group.*"]
    one.save()
    two.save()
    bind(one, "*")
    bind(two, "*")
    assert AgentBinding.objects.count() == 2


def test_workspaces_do_not_compete_but_global_bindings_do(agents):
    stranger = AgentFactory(workspace=WorkspaceFactory(), event_types=["*"])
    bind(agents[0])
    bind(stranger)
    bind(agents[0], scope="global")
    with pytest.raises(ValidationError):
        bind(stranger, scope="global")


def test_saving_again_does_not_tie_with_itself(agents):
    binding = bind(agents[0])
    binding.event_pattern = "message.received"
    save_binding(binding, author="ada")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scope": "bot"}, "scope_ref"),
        ({"scope": "workspace", "scope_ref": "a"}, "scope_ref"),
        ({"scope": "elsewhere"}, "scope"),
        ({"filters": ["a"]}, "filters"),
        ({"state_policy": {"scopes": ["galaxy"]}}, "state_policy"),
    ],
)
def test_wrong_binding_is_refused_under_its_field(agents, fields, field):
    with pytest.raises(ValidationError) as caught:
        bind(agents[0], **fields)
    assert caught.value.message_dict.keys() == {field}


def test_changes_are_audited(agents):
    binding = bind(agents[0])
    binding.priority = 5
    save_binding(binding, author="bob")
    delete_binding(binding, author="eve")
    entries = AuditLog.objects.order_by("pk")
    assert [(e.actor, e.action) for e in entries] == [
        ("ada", "created"),
        ("bob", "changed"),
        ("eve", "deleted"),
    ]
    assert (entries[1].before, entries[1].after) == ({"priority": 0}, {"priority": 5})
    assert not AgentBinding.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_simultaneous_ties_one_is_refused():
    workspace = WorkspaceFactory()
    agents = AgentFactory.create_batch(3, workspace=workspace, event_types=["*"])
    for _ in range(20):
        AgentBinding.objects.all().delete()
        outcomes = in_threads([lambda agent=agent: bind(agent) for agent in agents])
        refused = [error for error in outcomes if error is not None]
        assert [type(error) for error in refused] == [ValidationError] * 2
        assert AgentBinding.objects.count() == 1
