"""Calls any provider that speaks OpenAI's chat completions."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.openai_answers import StreamReader, read_answer
from agents.resources.openai_clients import client_pool
from agents.resources.openai_errors import broken_off, timed_out, translated
from agents.resources.openai_messages import request_body
from agents.resources.shapes import LlmAnswer, LlmChunk, LlmRequest, ModelSpec
from agents.resources.tokens import count_tokens
from langbot.lib.conf import limits

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

T = TypeVar("T")
GAP_SECONDS = 120.0  # what the SDK waits for the next chunk (wire 2.9)
RETRY_SECONDS = 0.3
_PATH = "/chat/completions"


class _Clock:
    """Bounds a whole call, and each wait in it."""

    def __init__(self, model: ModelSpec, total: float, gap: float) -> None:
        self._model, self._total, self._gap = model, total, gap
        self._end = asyncio.get_running_loop().time() + total

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await within what is left; raises ModelError."""
        left = self._end - asyncio.get_running_loop().time()
        limit = asyncio.timeout(max(0.0, min(left, self._gap)))
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if not limit.expired():
                raise
            seconds = self._total if left < self._gap else self._gap
            raise timed_out(self._model, seconds) from None


async def complete(model: ModelSpec, request: LlmRequest) -> LlmAnswer:
    """Return the whole answer; raises ModelError."""
    body = request_body(model, request)
    total = min(model.timeout_seconds, request.timeout or model.timeout_seconds)
    clock = _Clock(model, total, total)

    async def ask(client: "AsyncOpenAI") -> Any:
        return await client.post(
            _PATH, cast_to=object, body=body, options=_options(model)
        )

    async with client_pool().lease(model) as client:
        with translated(model):
            data = await clock.wait(_once_more(lambda: ask(client)))
    return read_answer(
        data,
        prompt_tokens=count_tokens(request.messages, request.funcs),
        remove_think=request.remove_think,
    )


async def stream(
    model: ModelSpec, request: LlmRequest
) -> AsyncGenerator[LlmChunk, None]:
    """Yield increments, then the usage; raises ModelError.

    However the iteration ends, the upstream response is closed before it does.
    """
    body = {**request_body(model, request), "stream": True}
    total = request.timeout or limits().run_seconds_maximum
    clock = _Clock(model, total, min(GAP_SECONDS, model.timeout_seconds))
    reader = StreamReader(
        prompt_tokens=count_tokens(request.messages, request.funcs),
        remove_think=request.remove_think,
    )
    async with client_pool().lease(model) as client:
        with translated(model):
            opening = _once_more(lambda: _open(client, model, body))
            source = await clock.wait(opening)
        try:
            while (data := await _next(source, clock, model)) is not _END:
                item = reader.feed(data)
                if item is not None:
                    yield item
        finally:
            await source.close()
    if not reader.is_complete:
        raise broken_off(model)
    yield {"usage": reader.usage()}


_END = object()


async def _next(source: "AsyncStream[object]", clock: _Clock, model: ModelSpec) -> Any:
    with translated(model):
        return await clock.wait(anext(source, _END))


async def _open(
    client: "AsyncOpenAI", model: ModelSpec, body: dict[str, Any]
) -> "AsyncStream[object]":
    from openai import AsyncStream, BadRequestError, UnprocessableEntityError

    async def ask(body: dict[str, Any]) -> AsyncStream[object]:
        return await client.post(
            _PATH,
            cast_to=object,
            body=body,
            options=_options(model),
            stream=True,
            stream_cls=AsyncStream[object],
        )

    try:
        return await ask({**body, "stream_options": {"include_usage": True}})
    except (BadRequestError, UnprocessableEntityError) as error:
        # Older servers do not know how to report usage in a stream.
        if "stream_options" not in str(error):
            raise
    return await ask(body)


async def _once_more(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again, once, when the provider was not there for a moment."""
    from openai import APIConnectionError, APITimeoutError, InternalServerError

    try:
        return await ask()
    except APITimeoutError:
        raise
    except (APIConnectionError, InternalServerError):
        await asyncio.sleep(RETRY_SECONDS)
    return await ask()


def _options(model: ModelSpec) -> Any:
    """Return the request's options; without a key no authorization is sent."""
    from openai import Omit

    return {} if model.api_key else {"headers": {"Authorization": Omit()}}


__all__ = ["ModelError", "ModelErrorCode", "complete", "stream"]
