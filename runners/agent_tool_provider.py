"""Offers agents as tools of other agents (`runners.sub_runs`)."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from agents.models import Agent
from agents.resources.tools import Tool, ToolCall, ToolError
from langbot.lib.conf import limits
from runners import sub_runs
from runners.agent_tools import (
    CALL_PREFIX,
    RESULT_TOOL,
    ask_tool,
    is_agent_tool,
    result_tool,
)
from runners.answers import wait_for_reply
from runners.live_hub import db
from runners.protocol.errors import ErrorCode

Given = TypeVar("Given", bound=BaseModel)

_SPARE_SECONDS = 2.0  # of a call: to describe what was waited for, and answer


class AgentTools:
    """A tool for each named agent, and one for their results.

    Waiting costs no thread and no place in the worker; sub-runs need none either, so
    that a run which waits never keeps out the one that it waits for.
    """

    key = "agents"
    goes_on = True

    def find(self, workspace_id: int, names: Collection[str]) -> list[Tool]:
        """Return the tools of agents that can be asked now."""
        wanted = [name for name in names if is_agent_tool(name)]
        slugs = [
            name.removeprefix(CALL_PREFIX) for name in wanted if name != RESULT_TOOL
        ]
        found = [result_tool()] if RESULT_TOOL in wanted else []
        if slugs:
            agents = Agent.objects.filter(
                workspace=workspace_id, slug__in=slugs, enabled=True, archived_at=None
            ).values_list("slug", "name", "description")
            found += [ask_tool(*agent) for agent in agents]
        return found

    async def call(self, call: ToolCall) -> Mapping[str, Any]:
        """Ask an agent, or look after one that was asked, and wait for its answer."""
        if call.name == RESULT_TOOL:
            look = _read(sub_runs.Look, call)
            if look.cancel:
                return await db(sub_runs.cancel, call, look.sub_run_id)
            return await _wait(call, look.sub_run_id, look.wait_seconds, look)
        ask = _read(sub_runs.Ask, call)
        slug = call.name.removeprefix(CALL_PREFIX)
        sub_run_id = await db(sub_runs.start, call, slug, ask)
        return await _wait(call, str(sub_run_id), ask.wait_seconds)


async def _wait(
    call: ToolCall, sub_run_id: str, wanted: float, look: sub_runs.Look | None = None
) -> dict[str, Any]:
    waits_for = await db(sub_runs.waits_for, call, sub_run_id)
    longest = min(limits().sub_run_wait_seconds, call.seconds - _SPARE_SECONDS)
    seconds = min(wanted, longest)
    if seconds > 0:
        await wait_for_reply(waits_for, seconds)
    shows = look is not None and look.include_progress
    described: dict[str, Any] = await db(
        sub_runs.describe, call, UUID(sub_run_id), progress=shows
    )
    return described


def _read(model: type[Given], call: ToolCall) -> Given:
    try:
        return model.model_validate(dict(call.parameters))
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, issue["loc"]))
        message = f"{where}: {issue['msg']}"
        raise ToolError(message, code=ErrorCode.INVALID_REQUEST) from None
