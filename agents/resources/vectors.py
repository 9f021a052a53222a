"""Calls to embedding and rerank models, whatever provider they are at.

Both run in an event loop and touch no database; `llm.model_specs` reads the models.
"""

from agents.choices import ModelKind, ProviderKind
from agents.resources import demo_vectors, openai_vectors
from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.shapes import (
    EmbeddingAnswer,
    ModelSpec,
    RerankAnswer,
    RerankRequest,
    RerankResult,
)


async def embed(model: ModelSpec, texts: list[str]) -> EmbeddingAnswer:
    """Return one vector for each text, in their order; raises ModelError."""
    _check_kind(model, ModelKind.EMBEDDING, "an embedding model")
    if not texts:
        return {"vectors": []}
    if model.provider_kind == ProviderKind.DEMO:
        return demo_vectors.embed(texts)
    return await openai_vectors.embed(model, texts)


async def rerank(model: ModelSpec, request: RerankRequest) -> RerankAnswer:
    """Return the documents' scores, best first, at most `top_k`; raises ModelError."""
    _check_kind(model, ModelKind.RERANK, "a rerank model")
    if not request.documents:
        return {"results": []}
    if model.provider_kind == ProviderKind.DEMO:
        answer = demo_vectors.rerank(request)
    else:
        answer = await openai_vectors.rerank(model, request)
    answer["results"] = best_first(answer["results"], request.top_k)
    return answer


def best_first(results: list[RerankResult], top_k: int | None) -> list[RerankResult]:
    """Return the results by falling score; equal ones as the documents were given."""
    ordered = sorted(results, key=lambda one: (-one["relevance_score"], one["index"]))
    return ordered[:top_k] if top_k is not None else ordered


def _check_kind(model: ModelSpec, kind: ModelKind, name: str) -> None:
    if model.kind != kind:
        message = f"{model.name} is not {name} but of kind {model.kind}"
        raise ModelError(ModelErrorCode.BAD_REQUEST, message)


__all__ = [
    "EmbeddingAnswer",
    "RerankAnswer",
    "RerankRequest",
    "RerankResult",
    "embed",
    "rerank",
]
