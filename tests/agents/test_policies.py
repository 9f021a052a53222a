"""A binding narrows what its agent may use, and only where it says so (LB-10)."""

import pytest

from agents.policies import ResourcePolicy, StatePolicy

AGENT = ResourcePolicy(models=["a", "b"], tools=["t"], workspace_storage=True)


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"plugin_storage": False}, {"plugin_storage": False}),
        ({"models": ["b", "c"]}, {"models": ["b"]}),
        ({"models": []}, {"models": []}),
        ({"skills": ["s"]}, {"skills": ["s"]}),
        ({"skills": None, "artifacts": True}, {}),
    ],
)
def test_only_the_given_fields_of_a_binding_narrow(given, changed):
    narrowed = AGENT.narrowed(ResourcePolicy.model_validate(given))
    assert narrowed.model_dump() == {**AGENT.model_dump(), **changed}


def test_a_binding_never_widens():
    agent = ResourcePolicy(plugin_storage=False, skills=["s"])
    wider = ResourcePolicy(plugin_storage=True, skills=["s", "t"], models=["m"])
    assert agent.narrowed(wider) == agent


def test_state_keeps_its_scopes_unless_the_binding_names_some():
    agent = StatePolicy(scopes=["conversation", "runner"])
    assert agent.narrowed(StatePolicy(enabled=False)).scopes == agent.scopes
    narrowed = agent.narrowed(StatePolicy(scopes=["runner", "actor"]))
    assert narrowed == StatePolicy(enabled=True, scopes=["runner"])
