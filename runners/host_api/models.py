"""invoke_llm, invoke_llm_stream, count_tokens (`wire.md` §6)."""

from collections.abc import AsyncIterator
from typing import Any

from pydantic import Field

from agents.resources import llm
from agents.resources.shapes import LlmRequest, ModelSpec
from agents.resources.tokens import count_tokens as estimate_tokens
from runners.host_api.calls import CallData, HostCall
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
    model = await _model(call, data, "invoke")
    return dict(await llm.complete(model, _request(data)))


async def invoke_llm_stream(call: HostCall) -> AsyncIterator[dict[str, Any]]:
    """Yield `{"chunk"}` increments and `{"usage"}`."""
    data = call.read(ModelCall)
    model = await _model(call, data, "stream")
    async for chunk in llm.stream(model, _request(data)):
        yield dict(chunk)


async def count_tokens(call: HostCall) -> dict[str, Any]:
    """Return an estimate; see `agents.resources.tokens`."""
    data = call.read(ModelCall)
    call.facts.access.require_model(data.llm_model_uuid, "count_tokens")
    return {"tokens": estimate_tokens(data.messages, data.funcs or [])}


async def _model(call: HostCall, data: ModelCall, operation: str) -> ModelSpec:
    call.facts.access.require_model(data.llm_model_uuid, operation)
    specs = await call.database(
        llm.model_specs, [data.llm_model_uuid], call.facts.workspace_id
    )
    model = specs.get(data.llm_model_uuid)
    if model is None:
        message = "the model is disabled or gone"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return model


def _request(data: ModelCall) -> LlmRequest:
    return LlmRequest(
        messages=data.messages,
        funcs=data.funcs or [],
        extra_args=data.extra_args or {},
        timeout=data.timeout,
        remove_think=bool(data.remove_think),
    )
