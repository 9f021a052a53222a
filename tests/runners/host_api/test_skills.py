"""Skills are none until the host has any (LB-47): listed nowhere, called by nothing."""

import pytest

from runners.engine.snapshot import build_context

PERMISSIONS = {"tools": ["detail", "call"]}


@pytest.fixture(params=[True, False], ids=["authoring", "plain"])
def author(request, caller_of):
    capable = {"skill_authoring": request.param, "tool_calling": True}
    return caller_of(PERMISSIONS, capabilities=capable, skills=["writing"])


def test_a_context_lists_them_whether_or_not_a_runner_could_use_them(author):
    assert build_context(author.run, author.facts)["resources"]["skills"] == []


@pytest.mark.parametrize(
    "action", ["get_skill", "list_skills", "activate_skill", "skill_get", "activate"]
)
def test_there_is_no_call_for_them(author, action):
    assert author.refused(action, skill_name="writing") == "action.not_found"


@pytest.mark.parametrize("action", ["call_tool", "get_tool_detail"])
def test_nor_a_tool(author, action):
    data = {"tool_name": "activate", "parameters": {"skill_name": "writing"}}
    assert author.refused(action, **data) == "permission_denied"
