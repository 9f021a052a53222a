"""Host calls of a run, typed (`wire.md` §6).

The host checks every call against what the run may use; a refusal is a
`HostCallError` with its code.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from runners.protocol.actions import Action, call_seconds
from runners.protocol.errors import ErrorCode
from runners.protocol.messages import Message, MessageChunk
from runners.protocol.pages import Direction, HistoryPage
from runners.protocol.results import StateScope
from runners.sdk.reading import HostCallError, ReadingCalls, parsed, required

__all__ = [
    "Caller",
    "HostApi",
    "HostCallError",
    "HostVersion",
    "ModelAnswer",
    "ModelChunk",
]


class Caller(Protocol):
    """The connection, as far as calls need it. Times are in seconds."""

    async def call(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]: ...

    def stream(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> AsyncGenerator[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    message: Message
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A part of a streamed answer; `text` is only the new part."""

    chunk: MessageChunk | None = None
    usage: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.chunk.text if self.chunk else ""


@dataclass(frozen=True, slots=True)
class HostVersion:
    version: str
    api_features: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HostApi(ReadingCalls):
    """The calls of one run. `deadline_at` (epoch seconds) cuts every wait."""

    run_id: str
    caller: Caller
    deadline_at: float | None = None

    async def call(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make any host call of this run and return its data."""
        request = {"run_id": self.run_id, **(data or {})}
        return await self.caller.call(action, request, self._seconds(action))

    async def get_langbot_version(self) -> HostVersion:
        action = Action.GET_LANGBOT_VERSION
        data = await self.caller.call(action, {}, self._seconds(action))
        features = data.get("api_features")
        return HostVersion(
            str(required(data, "version", action)),
            [str(item) for item in features] if isinstance(features, list) else [],
        )

    async def get_prompt(self) -> list[dict[str, Any]]:
        """Return the agent's prompt as messages with role and content."""
        data = await self.call(Action.GET_PROMPT)
        prompt = required(data, "prompt", Action.GET_PROMPT)
        return [item for item in prompt if isinstance(item, dict)]

    async def history_page(
        self,
        *,
        limit: int = 50,
        before_cursor: str | None = None,
        after_cursor: str | None = None,
        direction: Direction = "backward",
        include_attachments: bool = False,
    ) -> HistoryPage:
        """Return a page of the conversation; backward pages are newest first."""
        data = await self.call(
            Action.HISTORY_PAGE,
            {
                "conversation_id": None,
                "before_cursor": before_cursor,
                "after_cursor": after_cursor,
                "limit": limit,
                "direction": direction,
                "include_attachments": include_attachments,
            },
        )
        return parsed(HistoryPage, data, Action.HISTORY_PAGE)

    async def state_get(self, key: str, scope: StateScope = "conversation") -> Any:
        """Return the value, or None when there is none."""
        data = await self.call(Action.STATE_GET, {"scope": scope, "key": key})
        return data.get("value")

    async def state_set(
        self, key: str, value: Any, scope: StateScope = "conversation"
    ) -> None:
        request = {"scope": scope, "key": key, "value": value}
        await self.call(Action.STATE_SET, request)

    async def state_delete(self, key: str, scope: StateScope = "conversation") -> bool:
        """Return whether there was something to delete."""
        data = await self.call(Action.STATE_DELETE, {"scope": scope, "key": key})
        return data.get("success") is True

    async def state_list(
        self,
        scope: StateScope = "conversation",
        *,
        prefix: str | None = None,
        limit: int = 100,
    ) -> tuple[list[str], bool]:
        """Return the keys, and whether there are more."""
        request = {"scope": scope, "prefix": prefix, "limit": limit}
        data = await self.call(Action.STATE_LIST, request)
        keys = required(data, "keys", Action.STATE_LIST)
        return [str(key) for key in keys], data.get("has_more") is True

    async def run_get(self, run_id: str | None = None) -> dict[str, Any]:
        """Return a run: this one, or one this run may see."""
        return await self.call(Action.RUN_GET, {"target_run_id": run_id or self.run_id})

    async def count_tokens(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        funcs: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        request = _model_request(model, messages, funcs)
        data = await self.call(Action.COUNT_TOKENS, request)
        return int(required(data, "tokens", Action.COUNT_TOKENS))

    async def invoke_llm(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        funcs: Sequence[Mapping[str, Any]] = (),
        **options: Any,
    ) -> ModelAnswer:
        """Return a model's whole answer.

        `options` are the wire's: `extra_args`, `timeout` (seconds), `remove_think`.
        """
        request = {**_model_request(model, messages, funcs), **options}
        data = await self.call(Action.INVOKE_LLM, request)
        message = required(data, "message", Action.INVOKE_LLM)
        return ModelAnswer(
            parsed(Message, message, Action.INVOKE_LLM), _usage(data.get("usage"))
        )

    async def invoke_llm_stream(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        funcs: Sequence[Mapping[str, Any]] = (),
        **options: Any,
    ) -> AsyncIterator[ModelChunk]:
        """Yield a model's answer part by part; leaving early stops the model."""
        action = Action.INVOKE_LLM_STREAM
        request = {"run_id": self.run_id, **_model_request(model, messages, funcs)}
        stream = self.caller.stream(
            action, {**request, **options}, self._seconds(action)
        )
        async with aclosing(stream):
            async for data in stream:
                raw = data.get("chunk")
                chunk = None if raw is None else parsed(MessageChunk, raw, action)
                yield ModelChunk(chunk, _usage(data.get("usage")))

    def _seconds(self, action: str) -> float:
        seconds = call_seconds(action)
        if self.deadline_at is None:
            return seconds
        left = self.deadline_at - time.time()
        if left <= 0:
            message = f"the run's deadline has passed before {action}"
            raise HostCallError(ErrorCode.DEADLINE_EXCEEDED, message, retryable=True)
        # The run's own time-out comes first and names the reason.
        return min(seconds, left + 1)


def _model_request(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    funcs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "llm_model_uuid": model,
        "messages": list(messages),
        "funcs": list(funcs),
        "extra_args": {},
        "timeout": None,
    }


def _usage(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None
