"""Agents on the runners of `tests.support.sdk_runners`."""

from agents.models import Agent
from langbot.core.models import Workspace
from tests.factories import AgentFactory
from tests.support.counting_tool import NAME


def working_agent(workspace: Workspace) -> Agent:
    """Return an agent that calls the counting tool in each step."""
    return AgentFactory.create(
        workspace=workspace,
        runner_id="plugin:tests/load/working",
        resource_policy={"tools": [NAME]},
    )
