"""get_tool_detail, call_tool (`wire.md` §6, LB-72).

`tool.call.started` and `tool.call.completed` come from the runner; the host writes
none. Its own record is the journal's row.
"""

import logging
from functools import partial
from typing import Any

from agents.resources.tools import Tool, ToolCall, find_tools, tool_providers
from langbot.lib.conf import limits
from runners.client_tools import CLIENT
from runners.grants import HOST
from runners.host_api import platform, replies
from runners.host_api.approvals import approved
from runners.host_api.calls import CallData, HostCall, Parameters, journalled
from runners.host_api.client_tools import call_client, described_tool
from runners.host_api.sizes import bounded
from runners.host_api.timing import allowed_seconds, within
from runners.ledger.tool_uses import was_used
from runners.platform_tools import (
    PLATFORM_PREFIX,
    REPLY_TOOL,
    platform_tool,
    reply_tool,
)
from runners.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger(__name__)


class Named(CallData):
    tool_name: str


class Called(Named):
    parameters: Parameters
    tool_call_id: str | None = None  # what the model calls it


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
    """Execute a tool once, if it may, and return `{"result": object}`."""
    data = call.read(Called)
    await _check_order(call, data.tool_name)
    run_it = partial(execute, call, data.tool_name)
    seconds = float(limits().tool_call_seconds)
    return await approved(call, data.tool_name, data.parameters, run_it, seconds)


async def _check_order(call: HostCall, name: str) -> None:
    """Refuse a tool that another one has to come before (AG-102)."""
    other = call.facts.access.requires.get(name)
    if other is None:
        return
    if call.handle is not None:
        await call.handle.written()  # it may have been called a moment ago
    facts = call.facts
    if not await call.database(was_used, facts.conversation_id, facts.pk, other):
        message = f"call {other[:100]} before {name[:100]}"
        details = {"requires": other}
        raise ProtocolError(ErrorCode.TOOL_DENIED, message, details=details)


async def execute(
    call: HostCall, name: str, parameters: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Execute a tool that may run, once, in at most so many seconds."""
    if name == REPLY_TOOL:
        return await replies.reply(call, parameters)
    if name.startswith(PLATFORM_PREFIX):
        return await platform.call_as_tool(call, name, parameters)
    if _source(call, name) == CLIENT:
        return await call_client(call, name, parameters, seconds)
    provider = tool_providers.get(_source(call, name))
    return await journalled(
        call,
        lambda: _execute(call, name, parameters, seconds),
        goes_on=bool(getattr(provider, "goes_on", False)),
    )


async def _execute(
    call: HostCall, name: str, parameters: dict[str, Any], most: float
) -> dict[str, Any]:
    provider = tool_providers.get(_source(call, name))
    if provider is None:
        raise _gone(name)
    seconds = allowed_seconds(call, most)
    facts = call.facts
    request = ToolCall(
        name=name,
        parameters=parameters,
        workspace_id=facts.workspace_id,
        run_id=facts.public_id,
        agent_id=str(facts.snapshot.get("agent", {}).get("id", "")),
        conversation_id=facts.conversation_public_id,
        key=f"{facts.public_id}:{call.key.invocation}:{call.key.plugin_seq_id}",
        seconds=seconds,
        is_dry_run=facts.dry_run,
    )
    try:
        answer = await within(seconds, provider.call(request))
    except ProtocolError as error:
        if error.code == ErrorCode.DEADLINE_EXCEEDED:
            raise _too_slow(call, request, error) from None
        raise
    return {"result": bounded(answer)}


def _too_slow(call: HostCall, request: ToolCall, error: ProtocolError) -> ProtocolError:
    """Log what blocked the run, and say what to do instead (AG-100).

    Names of parameters only: their values may be anybody's.
    """
    logger.warning(
        "a tool took too long",
        extra={
            "tool": request.name,
            "source": _source(call, request.name),
            "call": request.key,
            "parameters": sorted(request.parameters),
            "person": call.facts.person,
            "conversation": request.conversation_id,
            "seconds": round(request.seconds, 3),
        },
    )
    advice = "let one tool start long work and another one ask for its result"
    message = f"{error.message}: {advice}"
    return ProtocolError(error.code, message, details=error.details)


async def _tool(call: HostCall, name: str) -> Tool:
    if _source(call, name) == CLIENT:
        return described_tool(call.facts.resources, name)
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
