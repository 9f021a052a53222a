"""Tools and knowledge bases of a run: what its policy names and a provider knows.

Asked once, at the first claim; a run that names none costs no query.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from agents.resources.knowledge import KNOWLEDGE_OPERATIONS, find_bases
from agents.resources.tools import INLINE_CHARACTERS, TOOL_OPERATIONS, Tool, find_tools
from runners.client_tools import CLIENT
from runners.platform_tools import (
    PLATFORM_PREFIX,
    REPLY_TOOL,
    platform_tool,
    reply_tool,
)
from runners.protocol.frames import encode

HOST = "host"  # who answers for the tools that are the host's own


class Grant(BaseModel):
    """The right to one resource: whose it is, and what the run may do with it."""

    source: str
    operations: list[str]
    resource: dict[str, Any]
    requires: str = ""  # a tool that has to be called before


def grant_tools(
    names: Iterable[str],
    workspace_id: int,
    permitted: Collection[str],
    *,
    calls_tools: bool,
    replies: bool,
    of_client: Sequence[Tool] = (),
) -> dict[str, Grant]:
    """Return the tools of a run by name (LB-45).

    `calls_tools` is the runner's capability. What the host has goes before what a
    client has under the same name. A reply in the run's own conversation is
    no tool that a policy has to name: its agent was bound to answer there.
    The order is the policy's; what only this run has comes last, so that what models
    are told begins with the same bytes in all runs of an agent (AG-92).
    """
    operations = [one for one in TOOL_OPERATIONS if one in permitted]
    if not operations:
        return {}
    tools: list[tuple[str, Tool]] = []
    if replies and "call" in operations:
        tools.append((HOST, reply_tool()))
    wanted = [name for name in dict.fromkeys(names) if name != REPLY_TOOL]
    own = [name for name in wanted if name.startswith(PLATFORM_PREFIX)]
    tools += [(HOST, platform_tool(name)) for name in own]
    others = [name for name in wanted if name not in own] if calls_tools else []
    if others:
        found = find_tools(workspace_id, others)
        tools += [(provider.key, tool) for provider, tool in found]
    known = {tool.name for _source, tool in tools}
    tools += [
        (CLIENT, one) for one in of_client if calls_tools and one.name not in known
    ]
    return {tool.name: _tool(source, tool, operations) for source, tool in tools}


def grant_bases(
    ids: Iterable[str], workspace_id: int, permitted: Collection[str]
) -> dict[str, Grant]:
    """Return the knowledge bases of a run by id (LB-46)."""
    operations = [one for one in KNOWLEDGE_OPERATIONS if one in permitted]
    wanted = list(dict.fromkeys(ids))
    found = find_bases(workspace_id, wanted) if operations and wanted else []
    return {
        base.id: Grant(
            source=engine.key,
            operations=operations,
            resource={
                "kb_id": base.id,
                "kb_name": base.name or None,
                "kb_type": base.type or None,
                "operations": operations,
            },
        )
        for engine, base in found
    }


def _tool(source: str, tool: Tool, operations: list[str]) -> Grant:
    # A large schema would travel with every run; its runner asks for it when needed.
    is_small = len(encode(tool.parameters)) <= INLINE_CHARACTERS
    return Grant(
        source=source,
        operations=operations,
        requires=tool.requires_tool,
        resource={
            "tool_name": tool.name,
            "tool_type": tool.type,
            "description": tool.description or None,
            "operations": operations,
            "parameters": dict(tool.parameters) if is_small else None,
        },
    )
