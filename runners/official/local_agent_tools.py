"""The tools of the local agent: what a model is told of them, and carrying them out."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from runners.official.local_agent_schema import (
    DEFAULT_RESULT_CHARACTERS,
    DEFAULT_ROUNDS,
)
from runners.protocol.messages import ToolCall
from runners.sdk import HostCallError, RunContext, results
from runners.sdk.replies import REPLY_TOOL
from runners.sdk.results import Result

MOST_ROUNDS: Final = 100  # what the official agent allows (wire 7)
_NO_OBJECT: Final = "The arguments are not a JSON object."


@dataclass(slots=True)
class WantedCalls:
    """The tool calls of one answer, put together from the parts of a stream."""

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, parts: Iterable[ToolCall] | None) -> None:
        """Take what came next; parts of a call share its id."""
        for part in parts or ():
            call = self.calls.setdefault(part.id or f"call_{len(self.calls)}", {})
            call.setdefault("name", part.function.name or "")
            call["arguments"] = call.get("arguments", "")
            call["arguments"] += part.function.arguments or ""
            call["extra"] = part.provider_specific_fields or call.get("extra")

    def message(self, text: str) -> dict[str, Any]:
        """Return the assistant's message, which asks for these calls if any."""
        calls = [_as_asked(key, call) for key, call in self.calls.items()]
        asked = {"tool_calls": calls} if calls else {}
        return {"role": "assistant", "content": text or None, **asked}


def _as_asked(call_id: str, call: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"] or "{}"},
        "provider_specific_fields": call["extra"],
    }


def round_limit(config: dict[str, Any]) -> int:
    """Return how often the model may ask for tools; a bad number is the default."""
    return _number(config, "max-tool-iterations", DEFAULT_ROUNDS, MOST_ROUNDS)


async def tool_functions(ctx: RunContext) -> list[dict[str, Any]]:
    """Return the run's tools as a model is told of them.

    The reply tool is none of them: what the model says is the reply.
    """
    functions = []
    for tool in ctx.resources.tools:
        if tool.tool_name == REPLY_TOOL or not tool.allows("call"):
            continue
        if tool.parameters is None and tool.allows("detail"):
            # Large schemas do not travel with the run.
            found = await _detail(ctx, tool.tool_name)
            if found is not None:
                functions.append(found)
            continue
        functions.append(
            {
                "name": tool.tool_name,
                "human_desc": tool.description or "",
                "description": tool.description or "",
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            }
        )
    return functions


async def _detail(ctx: RunContext, name: str) -> dict[str, Any] | None:
    try:
        return (await ctx.api.get_tool_detail(name)).as_function()
    except HostCallError:
        return None  # removed since the run was frozen


async def carry_out(
    ctx: RunContext, wanted: WantedCalls, messages: list[dict[str, Any]]
) -> AsyncIterator[Result]:
    """Call the tools one after the other and add their answers to the messages.

    An error is the tool's answer: the model may try otherwise or say so.
    """
    for call_id, call in wanted.calls.items():
        parameters = _parameters(call["arguments"])
        yield results.tool_started(call_id, call["name"], parameters or {})
        answer, error = await _call(ctx, call_id, call["name"], parameters)
        yield results.tool_completed(call_id, call["name"], answer, error)
        messages.append(tool_message(ctx.config, call_id, answer, error))


async def _call(
    ctx: RunContext, call_id: str, name: str, parameters: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, str | None]:
    if parameters is None:
        return None, _NO_OBJECT
    try:
        answer = await ctx.api.call_tool(name, parameters, tool_call_id=call_id)
    except HostCallError as error:
        return None, f"{error.code}: {error.message}"
    return answer if isinstance(answer, dict) else {"value": answer}, None


def tool_message(
    config: dict[str, Any], call_id: str, answer: Any, error: str | None
) -> dict[str, Any]:
    """Return a tool's answer as the model reads it, cut where it is too long."""
    said = {"error": error} if error is not None else answer
    text = json.dumps(said, ensure_ascii=False, default=str)
    most = _number(config, "max-tool-result-chars", DEFAULT_RESULT_CHARACTERS)
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more characters)"
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _parameters(arguments: str) -> dict[str, Any] | None:
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _number(
    config: dict[str, Any], name: str, default: int, most: int | None = None
) -> int:
    given = config.get(name)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        return default
    return given if most is None else min(given, most)
