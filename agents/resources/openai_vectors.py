"""Embeddings by OpenAI's `/embeddings`, reranking by the `/rerank` of Cohere and Jina.

vLLM, SiliconFlow, Xinference, LocalAI and many gateways offer the latter beside
OpenAI's paths: `{"model","query","documents","top_n"}` in, and out
`{"results": [{"index", "relevance_score"}]}`. Voyage calls the list `data`, Hugging
Face's server answers with the list itself and calls the number `score`.
"""

import math
from collections.abc import Mapping
from typing import Any

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.openai_calls import post
from agents.resources.shapes import (
    EmbeddingAnswer,
    ModelSpec,
    RerankAnswer,
    RerankRequest,
    RerankResult,
)

_EMBEDDINGS, _RERANK = "/embeddings", "/rerank"
# A runner may tune a call, but not change what it asks, or how we read the answer.
_RESERVED = frozenset(
    {"model", "input", "encoding_format", "query", "documents", "texts", "top_n"}
)


async def embed(model: ModelSpec, texts: list[str]) -> EmbeddingAnswer:
    """Return the vectors in the order of the texts; raises ModelError."""
    body = {
        **_extra(model.extra_args),
        "model": model.name,
        "input": texts,
        "encoding_format": "float",
    }
    data = await post(model, _EMBEDDINGS, body)
    vectors: dict[int, list[float]] = {}
    for position, item in enumerate(_list(data, "data")):
        vectors[_index(item, position)] = _vector(item.get("embedding"))
    if sorted(vectors) != list(range(len(texts))):
        raise _unreadable("its embeddings do not fit the texts")
    answer: EmbeddingAnswer = {
        "vectors": [vectors[number] for number in range(len(texts))]
    }
    if usage := _usage(data):
        answer["usage"] = usage
    return answer


async def rerank(model: ModelSpec, request: RerankRequest) -> RerankAnswer:
    """Return the scores in any order; raises ModelError."""
    body = {
        **_extra(model.extra_args),
        **_extra(request.extra_args),
        "model": model.name,
        "query": request.query,
        "documents": request.documents,
        "top_n": request.top_k or len(request.documents),
    }
    data = await post(model, _RERANK, body, request.timeout)
    items = data if isinstance(data, list) else _list(data, "results", "data")
    scores: dict[int, RerankResult] = {}
    for item in items:
        result = _result(item, len(request.documents))
        scores[result["index"]] = result
    answer: RerankAnswer = {"results": list(scores.values())}
    if usage := _usage(data):
        answer["usage"] = usage
    return answer


def _extra(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in _RESERVED}


def _usage(data: Any) -> dict[str, Any]:
    """Return the token counts: Cohere tells them in `meta`, the others in `usage`."""
    given = data if isinstance(data, Mapping) else {}
    usage = given.get("usage")
    if not isinstance(usage, Mapping):
        meta = given.get("meta")
        usage = meta.get("tokens") if isinstance(meta, Mapping) else None
    return dict(usage) if isinstance(usage, Mapping) else {}


def _list(data: Any, *names: str) -> list[Mapping[str, Any]]:
    for name in names:
        items = data.get(name) if isinstance(data, Mapping) else None
        if isinstance(items, list) and all(isinstance(one, Mapping) for one in items):
            return items
    raise _unreadable("it is no list of results; check the provider's base URL")


def _index(item: Mapping[str, Any], position: int) -> int:
    index = item.get("index", position)
    return index if type(index) is int else -1


def _vector(value: Any) -> list[float]:
    if not isinstance(value, list) or not value or not all(map(_is_number, value)):
        raise _unreadable("an embedding is not a list of numbers")
    return [float(number) for number in value]


def _result(item: Any, documents: int) -> RerankResult:
    given = item if isinstance(item, Mapping) else {}
    index = given.get("index")
    score = given.get("relevance_score", given.get("score"))
    if type(index) is not int or not 0 <= index < documents or not _is_number(score):
        raise _unreadable("a result of its reranking has no index or score")
    return {"index": index, "relevance_score": float(score)}


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _unreadable(why: str) -> ModelError:
    message = f"the provider's answer cannot be read: {why}"
    return ModelError(ModelErrorCode.BAD_RESPONSE, message)
