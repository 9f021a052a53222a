"""call_platform_api: messages and actions of bots, each done once (wire 6)."""

from functools import partial
from typing import Any
from uuid import UUID

from pydantic import Field

from agents.policies import APPROVALS
from langbot.lib.conf import limits
from runners.conversations import target_conversation
from runners.host_api import replies
from runners.host_api.approvals import approved, check_allowed
from runners.host_api.calls import (
    CallData,
    HostCall,
    Parameters,
    journalled,
    read_data,
)
from runners.host_api.platform_threads import threads
from runners.host_api.sizes import bounded
from runners.host_api.timing import allowed_seconds, within
from runners.ledger.saying import Place
from runners.platform_actions import (
    PlatformAction,
    PlatformActions,
    platform_actions,
)
from runners.platform_tools import PLATFORM_PREFIX, REPLY_TOOL, SEND_MESSAGE
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.results import MAX_FILES_PER_MESSAGE


class PlatformCall(CallData):
    bot_uuid: str | None = None
    action: str = Field(min_length=1, max_length=100)
    params: Parameters = {}
    context_tool: str | None = None
    file_ids: list[str] = Field(default=[], max_length=MAX_FILES_PER_MESSAGE)


class Target(replies.Reply):
    """Parameters of the action `send_message`."""

    target_type: str = Field(default="person", max_length=50)
    target_id: str = Field(min_length=1, max_length=200)


async def call_platform_api(call: HostCall) -> dict[str, Any]:
    """Act on a bot's platform; returns `{"result": any}`."""
    data = call.read(PlatformCall)
    is_reply = data.context_tool == REPLY_TOOL and data.action == SEND_MESSAGE
    tool = REPLY_TOOL if is_reply else f"{PLATFORM_PREFIX}{data.action}"
    if data.file_ids:
        check_allowed(call, tool)  # a paused run keeps no files of its plugin
    if is_reply:
        run_it = partial(_reply, call, data.file_ids)
        return await approved(call, tool, data.params, run_it, _seconds())
    if data.context_tool:
        message = f"context_tool: {data.action[:50]} has none but {REPLY_TOOL}"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message)
    if APPROVALS not in call.facts.snapshot:
        return await _act(call, data)
    named = {"bot_uuid": data.bot_uuid} if data.bot_uuid else {}
    act = partial(_act_with, call, data)
    return await approved(call, tool, {**data.params, **named}, act, _seconds())


async def _reply(
    call: HostCall, file_ids: list[str], parameters: dict[str, Any], seconds: float
) -> dict[str, Any]:
    return await replies.reply(call, parameters, file_ids)


async def _act_with(
    call: HostCall, data: PlatformCall, parameters: dict[str, Any], seconds: float
) -> dict[str, Any]:
    params = dict(parameters)
    bot = params.pop("bot_uuid", None)
    return await _act(call, data.model_copy(update={"params": params, "bot_uuid": bot}))


def _seconds() -> float:
    return float(limits().tool_call_seconds)


async def call_as_tool(
    call: HostCall, tool_name: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Do the action of a tool `platform_<action>`; `bot_uuid` is a parameter."""
    params = dict(parameters)
    given = {
        "bot_uuid": params.pop("bot_uuid", None),
        "action": tool_name.removeprefix(PLATFORM_PREFIX),
        "params": params,
    }
    return await _act(call, read_data(given, PlatformCall))


async def _act(call: HostCall, data: PlatformCall) -> dict[str, Any]:
    actions = platform_actions()
    if actions is None:
        message = "this host has no platforms"
        raise ProtocolError(ErrorCode.NOT_AVAILABLE, message)
    bot_id = await call.database(_bot, call, actions, data.bot_uuid)
    if data.action == SEND_MESSAGE:
        return await _send(call, bot_id, data)
    action = await call.database(actions.prepare, bot_id, data.action)
    perform = partial(_perform, call, bot_id, action, data.params)
    return await journalled(call, perform)


async def _send(call: HostCall, bot_id: UUID, data: PlatformCall) -> dict[str, Any]:
    """Send to anybody the bot reaches: a delivery like every other.

    A dry run sends nothing and is in nobody's transcript: the next run of that
    conversation would read it as said.
    """
    target = read_data(data.params, Target)
    place = partial(_place, call.facts.workspace_id, bot_id, target.target_id)
    outgoing = await replies.prepared(call, target, data.file_ids, place)
    if call.facts.dry_run:
        return {"result": {"dry_run": True}}
    outgoing.payload |= {
        "reply_target": {"type": target.target_type, "id": target.target_id},
    }
    stored = await replies.sent(call, outgoing)
    return {"result": stored["result"]}


def _place(workspace_id: int, bot_id: UUID, target_id: str) -> Place:
    return Place(target_conversation(workspace_id, bot_id, target_id), bot_id)


async def _perform(
    call: HostCall, bot_id: UUID, action: PlatformAction, params: dict[str, Any]
) -> dict[str, Any]:
    if call.facts.dry_run:
        return {"result": {"dry_run": True}}
    seconds = allowed_seconds(call)
    acting = threads.start(bot_id, partial(action, params))
    return {"result": bounded(await within(seconds, acting))}


def _bot(call: HostCall, actions: PlatformActions, given: str | None) -> UUID:
    """Return the bot that is meant: one of the run's workspace, by default its own."""
    named = given or call.facts.bot_id
    if not named:
        message = "bot_uuid: this run has no bot of its own"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message)
    found = actions.workspace_bot(call.facts.workspace_id, str(named))
    if found is None:
        message = "there is no such bot in the workspace"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return found
