"""Tools that the client of a run executes: which a run has, and who said so.

An agent's resource policy describes them (`client_tools`); a message names those that
its sender can execute (`metadata.client_tools`). A run has what both have.
"""

from collections.abc import Sequence
from typing import Any

from agents.policies import ClientTool
from agents.resources.tools import Tool

CLIENT = "client"  # who answers for them
METADATA = "client_tools"


def offered_tools(allowed: Sequence[ClientTool], metadata: Any) -> list[Tool]:
    """Return the described tools that the message's sender can execute."""
    named = metadata.get(METADATA) if isinstance(metadata, dict) else None
    wanted = named if isinstance(named, list) else []
    return [
        Tool(name=one.name, description=one.description, parameters=one.parameters)
        for one in allowed
        if one.name in wanted
    ]
