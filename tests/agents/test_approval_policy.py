"""What an approval policy makes of a tool: the order of LH-16, and C-32."""

import pytest
from pydantic import ValidationError

from agents.approvals import approval_warnings
from agents.models import RunnerDescriptor
from agents.policies import ApprovalPolicy, evaluate_tool, frozen_policy
from tests.factories import AgentFactory

LISTS = {"allow": ["read_*"], "ask": ["*_file", "mail"], "deny": ["*_secret"]}


@pytest.mark.parametrize(
    ("mode", "tool", "verdict"),
    [
        ("default", "read_secret", "deny"),
        ("bypass", "read_secret", "deny"),
        ("dontAsk", "read_secret", "deny"),
        ("bypass", "mail", "allow"),
        ("bypass", "anything", "allow"),
        ("default", "read_page", "allow"),
        ("dontAsk", "read_page", "allow"),
        ("default", "read_file", "allow"),
        ("default", "write_file", "ask"),
        ("dontAsk", "write_file", "ask"),
        ("dontAsk", "anything", "deny"),
        ("default", "anything", "ask"),
        ("default", "Read_page", "ask"),
        ("unheard of", "anything", "ask"),
        (None, "anything", "ask"),
    ],
)
def test_the_first_rule_that_fits_decides(mode, tool, verdict):
    assert evaluate_tool({"mode": mode, **LISTS}, tool) == verdict


@pytest.mark.parametrize("lists", [{}, {"allow": None}, {"allow": "read"}])
def test_what_cannot_be_read_asks(lists):
    assert evaluate_tool(lists, "read") == "ask"


def test_an_unreadable_policy_is_frozen_as_one_that_asks():
    frozen = frozen_policy({"enabled": True, "mode": "sometimes", "allow": ["*"]})
    assert evaluate_tool(frozen, "anything") == "ask"
    stored = {"enabled": True, "mode": "bypass"}
    assert evaluate_tool(frozen_policy(stored), "anything") == "allow"


def test_patterns_in_two_lists_are_named():
    policy = ApprovalPolicy(allow=["a", "b"], ask=["b", "c"], deny=["a", "d"])
    assert policy.in_two_lists() == ["a", "b"]


def test_a_reason_has_an_end():
    with pytest.raises(ValidationError):
        ApprovalPolicy(reason="x" * 501)


@pytest.mark.parametrize(
    ("policy", "capabilities", "warnings"),
    [
        ({}, {}, 0),
        ({"enabled": True}, {}, 1),
        ({"enabled": True}, {"resume": True}, 0),
        ({"enabled": True, "mode": "bypass"}, {}, 0),
        ({"enabled": True, "allow": ["a"], "ask": ["a"]}, {"resume": True}, 1),
    ],
)
def test_who_saves_an_agent_is_warned(workspace, policy, capabilities, warnings):
    agent = AgentFactory.create(workspace=workspace, approval_policy=policy)
    RunnerDescriptor.objects.create(
        runner_id=agent.runner_id, plugin="langbot/echo", capabilities=capabilities
    )
    assert len(approval_warnings(agent)) == warnings
