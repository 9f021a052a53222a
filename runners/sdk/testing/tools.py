"""Tools and knowledge of the host in memory."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.sdk.calls import HostCallError
from runners.sdk.testing.given import described

Data = dict[str, Any]


class GivenTools:
    def __init__(
        self, tools: Mapping[str, Any], knowledge: Mapping[str, Sequence[str]]
    ) -> None:
        self._tools = tools
        self._knowledge = knowledge

    def answer(self, action: str) -> Callable[[Data], Awaitable[Data]] | None:
        """Return what answers this action, None when it is about something else."""
        answers: dict[str, Callable[[Data], Awaitable[Data]]] = {
            Action.GET_TOOL_DETAIL: self._detail,
            Action.CALL_TOOL: self._call,
            Action.RETRIEVE_KNOWLEDGE_BASE: self._retrieve,
        }
        return answers.get(action)

    async def _detail(self, data: Data) -> Data:
        tool = _given(self._tools, data["tool_name"])
        names = list(inspect.signature(tool).parameters) if callable(tool) else []
        schema = {"type": "object", "properties": {name: {} for name in names}}
        about = {"name": data["tool_name"], "description": described(tool)}
        return {"tool": {**about, "parameters": schema}}

    async def _call(self, data: Data) -> Data:
        tool = _given(self._tools, data["tool_name"])
        if not callable(tool):
            return {"result": tool}
        try:
            answer = tool(**data["parameters"])
            return {"result": await answer if inspect.isawaitable(answer) else answer}
        except HostCallError:
            raise
        except Exception as error:
            # What a tool raises is the tool's answer, as with a real one.
            message = f"{type(error).__name__}: {error}"
            raise HostCallError(ErrorCode.RUNTIME_ERROR, message) from error

    async def _retrieve(self, data: Data) -> Data:
        passages = _given(self._knowledge, data["kb_id"])
        wanted = set(data["query_text"].casefold().split())
        scored = [
            (len(wanted & set(text.casefold().split())), place, text)
            for place, text in enumerate(passages)
        ]
        found = sorted((item for item in scored if item[0]), key=lambda item: -item[0])
        return {
            "results": [
                {
                    "id": str(place),
                    "content": [{"type": "text", "text": text}],
                    "score": score / len(wanted),
                }
                for score, place, text in found[: data["top_k"]]
            ]
        }


def _given(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        raise HostCallError(ErrorCode.PERMISSION_DENIED, f'"{name}" is not given')
    return things[name]
