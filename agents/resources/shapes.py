"""What goes into a model call and what comes out of it, in the shapes of the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model and its provider as one call needs them, apart from the database.

    `api_key` is None when the stored key cannot be decrypted any more.
    """

    id: str
    name: str
    kind: str
    provider_id: str
    provider_name: str
    provider_kind: str
    base_url: str = field(default="", repr=False)  # may hold a password
    api_key: str | None = field(default="", repr=False)
    timeout_seconds: int = DEFAULT_SECONDS
    context_window_tokens: int | None = None
    extra_args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    key: int | None = None  # of its row, which records and prices refer to

    @property
    def address(self) -> str:
        """The base URL, or OpenAI's own when none was entered."""
        return self.base_url or DEFAULT_BASE_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRequest:
    """One question to a model.

    `messages` are wire Messages (wire 5.1; null fields are fine), `funcs` items are
    {name, human_desc, description, parameters}. `timeout` bounds the whole call in
    seconds; the provider's own limit holds as well.
    """

    messages: Sequence[Mapping[str, Any]]
    funcs: Sequence[Mapping[str, Any]] = ()
    extra_args: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    remove_think: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """Which documents answer a query best; `timeout` as in `LlmRequest`."""

    query: str
    documents: list[str]
    top_k: int | None = None
    extra_args: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None


class RerankResult(TypedDict):
    """`index` is the document's place in the request; a higher score is better."""

    index: int
    relevance_score: float


class RerankAnswer(TypedDict):
    """`notice` is what a provider that is no real model says of itself.

    `usage` is what a provider told of the call, as it told it.
    """

    results: list[RerankResult]
    notice: NotRequired[str]
    usage: NotRequired[dict[str, Any]]


class EmbeddingAnswer(TypedDict):
    """One vector for each text; `notice` and `usage` as in `RerankAnswer`."""

    vectors: list[list[float]]
    notice: NotRequired[str]
    usage: NotRequired[dict[str, Any]]


class LlmAnswer(TypedDict):
    """`usage` has prompt_tokens, completion_tokens, total_tokens and extras.

    `usage["estimated"]` is true when the provider told no numbers.
    """

    message: dict[str, Any]
    usage: dict[str, Any]


class LlmChunk(TypedDict, total=False):
    """One increment (`chunk`), or the numbers of the whole answer (`usage`, last)."""

    chunk: dict[str, Any]
    usage: dict[str, Any]


def message(
    content: str | None,
    *,
    tool_calls: list[dict[str, Any]] | None = None,
    message_id: str | None = None,
    reasoning: str = "",
) -> dict[str, Any]:
    """Return a wire Message of the assistant.

    Reasoning travels apart from the content, so that it never becomes reply text.
    """
    return {
        "role": "assistant",
        "name": None,
        "content": content,
        "tool_calls": tool_calls or None,
        "tool_call_id": None,
        "resp_message_id": message_id,
        "provider_specific_fields": (
            {"reasoning_content": reasoning} if reasoning else None
        ),
    }


def chunk(
    content: str | None,
    *,
    tool_calls: list[dict[str, Any]] | None = None,
    message_id: str | None = None,
    reasoning: str = "",
    is_final: bool = False,
) -> LlmChunk:
    """Return a stream item with a wire MessageChunk; `content` is the new part."""
    part = message(
        content, tool_calls=tool_calls, message_id=message_id, reasoning=reasoning
    )
    part |= {"all_content": None, "is_final": is_final, "msg_sequence": 0}
    return {"chunk": part}


def usage(prompt: int, completion: int, **extra: Any) -> dict[str, Any]:
    """Return the wire's usage of a call."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **extra,
    }
