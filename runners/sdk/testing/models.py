"""Models of the host in memory: they say what the test wrote."""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.sdk.calls import HostCallError
from runners.sdk.testing.given import ModelScript

Data = dict[str, Any]
_CHARACTERS_A_TOKEN: Final = 4


class ScriptedModels:
    def __init__(self, scripts: Mapping[str, ModelScript]) -> None:
        self._scripts: dict[str, Any] = dict(scripts)

    def answer(self, action: str) -> Callable[[Data], Awaitable[Data]] | None:
        """Return what answers this action, None when it asks no model."""
        answers: dict[str, Callable[[Data], Awaitable[Data]]] = {
            Action.COUNT_TOKENS: self._count_tokens,
            Action.INVOKE_LLM: self._invoke,
            Action.INVOKE_EMBEDDING: self._embed,
            Action.INVOKE_RERANK: self._rerank,
        }
        return answers.get(action)

    async def stream(self, data: Data) -> AsyncIterator[Data]:
        """Yield an answer word by word, what is no text with the last part."""
        message = await self._message(data)
        *words, last = str(message.get("content") or "").split(" ")
        for word in words:
            yield {"chunk": {"role": "assistant", "content": f"{word} "}}
        yield {"chunk": {**message, "content": last, "is_final": True}}
        yield {"usage": _usage(data, message)}

    async def _invoke(self, data: Data) -> Data:
        message = await self._message(data)
        return {"message": message, "usage": _usage(data, message)}

    async def _count_tokens(self, data: Data) -> Data:
        self._script(data["llm_model_uuid"])
        return {"tokens": _tokens(data["messages"])}

    async def _embed(self, data: Data) -> Data:
        said = await self._said(data["embedding_model_uuid"], data)
        return {"vectors": [list(vector) for vector in said]}

    async def _rerank(self, data: Data) -> Data:
        scores = await self._said(data["rerank_model_uuid"], data)
        ranked = [
            {"index": index, "relevance_score": score}
            for index, score in enumerate(scores)
        ]
        ranked.sort(key=lambda item: item["relevance_score"], reverse=True)
        return {"results": ranked[: data["top_k"]]}

    async def _message(self, data: Data) -> Data:
        said = await self._said(data["llm_model_uuid"], data)
        if isinstance(said, Mapping):
            return {"role": "assistant", **said}
        return {"role": "assistant", "content": str(said)}

    async def _said(self, model: str, data: Data) -> Any:
        script = self._script(model)
        if callable(script):
            said = script(data)
            return await said if inspect.isawaitable(said) else said
        if isinstance(script, list | tuple):
            said, *rest = script
            self._scripts[model] = rest or [said]
        else:
            said = script
        if isinstance(said, Exception):
            raise said
        return said

    def _script(self, model: str) -> Any:
        if model not in self._scripts:
            message = f'no model is given as "{model}"'
            raise HostCallError(ErrorCode.PERMISSION_DENIED, message)
        return self._scripts[model]


def _tokens(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False)) // _CHARACTERS_A_TOKEN + 1


def _usage(data: Data, message: Data) -> dict[str, int]:
    asked, said = _tokens(data["messages"]), _tokens(message)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
    }
