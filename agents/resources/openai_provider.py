"""Calls any provider that speaks OpenAI's chat completions."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.openai_answers import StreamReader, read_answer
from agents.resources.openai_calls import Clock, once_more, post, request_options
from agents.resources.openai_clients import client_pool
from agents.resources.openai_errors import broken_off, translated
from agents.resources.openai_messages import request_body
from agents.resources.shapes import LlmAnswer, LlmChunk, LlmRequest, ModelSpec
from agents.resources.tokens import count_tokens
from langbot.lib.conf import limits

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

GAP_SECONDS = 120.0  # what the SDK waits for the next chunk (wire 2.9)
_PATH = "/chat/completions"


async def complete(model: ModelSpec, request: LlmRequest) -> LlmAnswer:
    """Return the whole answer; raises ModelError."""
    body = request_body(model, request)
    data = await post(model, _PATH, body, request.timeout)
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
    clock = Clock(model, total, min(GAP_SECONDS, model.timeout_seconds))
    reader = StreamReader(
        prompt_tokens=count_tokens(request.messages, request.funcs),
        remove_think=request.remove_think,
    )
    async with client_pool().lease(model) as client:
        with translated(model):
            opening = once_more(lambda: _open(client, model, body))
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


async def _next(source: "AsyncStream[object]", clock: Clock, model: ModelSpec) -> Any:
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
            options=request_options(model),
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


__all__ = ["ModelError", "ModelErrorCode", "complete", "stream"]
