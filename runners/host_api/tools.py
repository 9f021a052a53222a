"""get_tool_detail, call_tool (`wire.md` §6, LB-72).

`tool.call.started` and `tool.call.completed` come from the runner; the host writes
none. Its own record is the journal's row.
"""

from typing import Any

from agents.resources.tools import Tool, ToolCall, find_tools, tool_providers
from runners.grants import HOST
from runners.host_api import platform, replies
from runners.host_api.calls import CallData, HostCall, journalled
from runners.host_api.sizes import bounded
from runners.host_api.timing import allowed_seconds, within
from runners.platform_tools import (
    PLATFORM_PREFIX,
    REPLY_TOOL,
    platform_tool,
    reply_tool,
)
from runners.protocol.errors import ErrorCode, ProtocolError


class Named(CallData):
    tool_name: str


class Called(Named):
    parameters: dict[str, Any]


async def get_tool_detail(call: HostCall) -> dict[str, Any]:
    """Return `{"tool": {"name", "description", "parameters"}}`."""
    tool = await _tool(call, call.read(Named).tool_name)
    return {
        "tool": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        }
    }


async def call_tool(call: HostCall) -> dict[str, Any]:
    """Execute a tool once and return `{"result": object}`."""
    data = call.read(Called)
    if data.tool_name == REPLY_TOOL:
        return await replies.reply(call, data.parameters)
    if data.tool_name.startswith(PLATFORM_PREFIX):
        return await platform.call_as_tool(call, data.tool_name, data.parameters)
    return await journalled(call, lambda: _execute(call, data))


async def _execute(call: HostCall, data: Called) -> dict[str, Any]:
    provider = tool_providers.get(_source(call, data.tool_name))
    if provider is None:
        raise _gone(data.tool_name)
    seconds = allowed_seconds(call)
    facts = call.facts
    request = ToolCall(
        name=data.tool_name,
        parameters=data.parameters,
        workspace_id=facts.workspace_id,
        run_id=facts.public_id,
        agent_id=str(facts.snapshot.get("agent", {}).get("id", "")),
        conversation_id=facts.conversation_public_id,
        key=f"{facts.public_id}:{call.key.invocation}:{call.key.plugin_seq_id}",
        seconds=seconds,
        is_dry_run=facts.dry_run,
    )
    return {"result": bounded(await within(seconds, provider.call(request)))}


async def _tool(call: HostCall, name: str) -> Tool:
    if _source(call, name) == HOST:
        return reply_tool() if name == REPLY_TOOL else platform_tool(name)
    found = await call.database(find_tools, call.facts.workspace_id, [name])
    if not found:
        raise _gone(name)
    return found[0][1]


def _source(call: HostCall, name: str) -> str:
    return call.facts.access.sources.get("tools", {}).get(name, "")


def _gone(name: str) -> ProtocolError:
    return ProtocolError(ErrorCode.NOT_FOUND, f"there is no tool {name[:100]} any more")
