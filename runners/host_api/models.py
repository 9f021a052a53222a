"""invoke_llm, invoke_llm_stream, count_tokens (`wire.md` §6)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from pydantic import Field

from agents.resources import llm
from agents.resources.shapes import LlmRequest, ModelSpec
from agents.resources.tokens import count_tokens as estimate_tokens
from runners.host_api.calls import CallData, HostCall
from runners.host_api.metering import Size, metered, metered_stream, most_output
from runners.protocol.errors import ErrorCode, ProtocolError

_MESSAGES_AT_MOST = 2000


class ModelCall(CallData):
    llm_model_uuid: str
    messages: list[dict[str, Any]] = Field(default=[], max_length=_MESSAGES_AT_MOST)
    funcs: list[dict[str, Any]] | None = None
    extra_args: dict[str, Any] | None = None
    timeout: float | None = Field(default=None, gt=0)
    remove_think: bool | None = None


async def invoke_llm(call: HostCall) -> dict[str, Any]:
    """Return `{"message", "usage"?}`."""
    data = call.read(ModelCall)
    model = await find_model(call, data.llm_model_uuid)
    request = _request(data)
    ask = partial(llm.complete, model, request)
    return dict(await metered(call, model, _size(model, request), ask))


async def invoke_llm_stream(call: HostCall) -> AsyncGenerator[dict[str, Any], None]:
    """Yield `{"chunk"}` increments and `{"usage"}`."""
    data = call.read(ModelCall)
    model = await find_model(call, data.llm_model_uuid)
    # Closed at once when the call is cancelled or the run ends, not when it is
    # collected: so is the provider's response.
    request = _request(data)
    ask = partial(llm.stream, model, request)
    size = _size(model, request)
    async with aclosing(metered_stream(call, model, size, ask)) as chunks:
        async for chunk in chunks:
            yield dict(chunk)


async def count_tokens(call: HostCall) -> dict[str, Any]:
    """Return an estimate; see `agents.resources.tokens`."""
    data = call.read(ModelCall)
    return {"tokens": estimate_tokens(data.messages, data.funcs or [])}


async def find_model(call: HostCall, model_id: str) -> ModelSpec:
    """Return a granted model as it is now; raises not_found for one that is gone."""
    specs = await call.database(llm.model_specs, [model_id], call.facts.workspace_id)
    model = specs.get(model_id)
    if model is None:
        message = "the model is disabled or gone"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return model


def _size(model: ModelSpec, request: LlmRequest) -> Size:
    return Size(
        partial(estimate_tokens, request.messages, request.funcs),
        most_output(request.extra_args, model.extra_args),
    )


def _request(data: ModelCall) -> LlmRequest:
    return LlmRequest(
        messages=data.messages,
        funcs=data.funcs or [],
        extra_args=data.extra_args or {},
        timeout=data.timeout,
        remove_think=bool(data.remove_think),
    )
