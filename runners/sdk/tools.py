"""Host calls to tools and knowledge."""

from collections.abc import Mapping
from typing import Any

from runners.protocol.actions import Action
from runners.sdk.answers import KnowledgeHit, ToolDetail
from runners.sdk.calls import Calls, parsed, parsed_list, required, result_of


class ToolCalls(Calls):
    """What may be called is in `ctx.resources`."""

    __slots__ = ()

    async def get_tool_detail(self, tool_name: str) -> ToolDetail:
        action = Action.GET_TOOL_DETAIL
        data = await self.call(action, {"tool_name": tool_name})
        return parsed(ToolDetail, required(data, "tool", action), action)

    async def call_tool(
        self,
        tool_name: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        tool_call_id: str | None = None,
    ) -> Any:
        """Call a tool and return what it answered, at most 180 seconds later.

        The host executes a call once: `outcome_unknown` says that nobody knows whether
        a call that broke off had its effect. A call may wait for a person's approval.
        `tool_call_id` is the model's name for the call, where it has one.
        """
        action = Action.CALL_TOOL
        request = {"tool_name": tool_name, "parameters": dict(parameters or {})}
        if tool_call_id is not None:
            request["tool_call_id"] = tool_call_id
        return result_of(await self.call(action, request), action)

    async def retrieve_knowledge(
        self,
        kb_id: str,
        query: str,
        *,
        top_k: int = 5,
        filters: Mapping[str, Any] | None = None,
    ) -> list[KnowledgeHit]:
        """Return the passages of a knowledge base nearest to `query`, nearest first."""
        action = Action.RETRIEVE_KNOWLEDGE_BASE
        request = {
            "kb_id": kb_id,
            "query_text": query,
            "top_k": top_k,
            "filters": dict(filters or {}),
        }
        found = required(await self.call(action, request), "results", action)
        return parsed_list(KnowledgeHit, found, action)
