"""Host calls to models: chat, tokens, embeddings and reranking."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from pydantic import TypeAdapter

from runners.protocol.actions import Action
from runners.protocol.messages import Message, MessageChunk
from runners.sdk.answers import ModelAnswer, ModelChunk, RankedDocument
from runners.sdk.calls import Calls, checked, parsed, parsed_list, required

_VECTORS: Final = TypeAdapter(list[list[float]])
_TOKENS: Final = TypeAdapter(int)

Given = Sequence[Mapping[str, Any]]


class ModelCalls(Calls):
    """`model` is the id of one of `ctx.resources.models`.

    `options` are the wire's: `extra_args`, `timeout` (seconds), `remove_think` and,
    where the host's `api_features` have `llm.reasoning_level`, `reasoning_level`.
    """

    __slots__ = ()

    async def count_tokens(
        self, model: str, messages: Given, funcs: Given = (), **options: Any
    ) -> int:
        """Return how many tokens of the model's input the messages take."""
        action = Action.COUNT_TOKENS
        data = await self.call(action, _request(model, messages, funcs, options))
        return int(checked(_TOKENS, required(data, "tokens", action), action))

    async def invoke_llm(
        self, model: str, messages: Given, funcs: Given = (), **options: Any
    ) -> ModelAnswer:
        """Return a model's whole answer."""
        action = Action.INVOKE_LLM
        data = await self.call(action, _request(model, messages, funcs, options))
        message = parsed(Message, required(data, "message", action), action)
        return ModelAnswer(message, _usage(data.get("usage")))

    async def invoke_llm_stream(
        self, model: str, messages: Given, funcs: Given = (), **options: Any
    ) -> AsyncIterator[ModelChunk]:
        """Yield a model's answer part by part; leaving early stops the model."""
        action = Action.INVOKE_LLM_STREAM
        stream = self.stream(action, _request(model, messages, funcs, options))
        async with aclosing(stream):
            async for data in stream:
                raw = data.get("chunk")
                chunk = None if raw is None else parsed(MessageChunk, raw, action)
                yield ModelChunk(chunk, _usage(data.get("usage")))

    async def invoke_embedding(
        self, model: str, texts: Sequence[str]
    ) -> list[list[float]]:
        """Return one vector for each text, in their order."""
        action = Action.INVOKE_EMBEDDING
        request = {"embedding_model_uuid": model, "texts": list(texts)}
        vectors = required(await self.call(action, request), "vectors", action)
        found: list[list[float]] = checked(_VECTORS, vectors, action)
        return found

    async def invoke_rerank(
        self,
        model: str,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        **extra_args: Any,
    ) -> list[RankedDocument]:
        """Return the places of the documents (at most 64), the most relevant first."""
        action = Action.INVOKE_RERANK
        request = {
            "rerank_model_uuid": model,
            "query": query,
            "documents": list(documents),
            "top_k": top_k,
            "extra_args": extra_args,
        }
        ranked = required(await self.call(action, request), "results", action)
        return parsed_list(RankedDocument, ranked, action)


def _request(
    model: str, messages: Given, funcs: Given, options: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "llm_model_uuid": model,
        "messages": list(messages),
        "funcs": list(funcs),
        "extra_args": {},
        "timeout": None,
        **options,
    }


def _usage(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None
