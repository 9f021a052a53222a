"""invoke_rerank, invoke_embedding (`wire.md` §6, LB-72)."""

from functools import partial
from typing import Any

from pydantic import Field

from agents.resources import vectors
from agents.resources.tokens import count_text
from agents.resources.vectors import EmbeddingAnswer, RerankAnswer, RerankRequest
from langbot.lib.conf import limits
from runners.host_api.calls import CallData, HostCall
from runners.host_api.metering import Size, metered
from runners.host_api.models import find_model
from runners.protocol.actions import Action, call_seconds
from runners.protocol.errors import ErrorCode, ProtocolError

_TEXTS_AT_MOST = 2048  # of one request: what OpenAI's interface takes


class RerankCall(CallData):
    rerank_model_uuid: str
    query: str
    documents: list[str]
    top_k: int | None = Field(default=None, ge=1)
    extra_args: dict[str, Any] | None = None
    timeout: float | None = Field(default=None, gt=0)


class EmbeddingCall(CallData):
    embedding_model_uuid: str
    texts: list[str]


async def invoke_rerank(call: HostCall) -> dict[str, Any]:
    """Return `{"results": [{"index", "relevance_score"}]}`, best first."""
    data = call.read(RerankCall)
    _check_count("documents", data.documents, limits().rerank_documents)
    model = await find_model(call, data.rerank_model_uuid)
    request = RerankRequest(
        query=data.query,
        documents=data.documents,
        top_k=data.top_k,
        extra_args=data.extra_args or {},
        timeout=min(data.timeout or 30.0, call_seconds(Action.INVOKE_RERANK)),
    )
    if not data.documents:
        return dict(await vectors.rerank(model, request))
    size = Size(partial(_tokens, [data.query, *data.documents]))
    ask = partial(vectors.rerank, model, request)
    return _told(await metered(call, model, size, ask))


async def invoke_embedding(call: HostCall) -> dict[str, Any]:
    """Return `{"vectors": [[float]]}`, one for each text."""
    data = call.read(EmbeddingCall)
    _check_count("texts", data.texts, _TEXTS_AT_MOST)
    model = await find_model(call, data.embedding_model_uuid)
    if not data.texts:  # nobody is asked, nothing is spent
        return dict(await vectors.embed(model, []))
    size = Size(partial(_tokens, data.texts))
    ask = partial(vectors.embed, model, data.texts)
    return _told(await metered(call, model, size, ask))


def _tokens(texts: list[str]) -> int:
    return sum(map(count_text, texts))


def _told(answer: EmbeddingAnswer | RerankAnswer) -> dict[str, Any]:
    """Return what the plugin is told: the wire has no usage here."""
    return {name: value for name, value in answer.items() if name != "usage"}


def _check_count(name: str, items: list[str], maximum: int) -> None:
    if len(items) > maximum:
        message = f"{name}: at most {maximum} of them"
        raise ProtocolError(ErrorCode.TOO_LARGE, message)
