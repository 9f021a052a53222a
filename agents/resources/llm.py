"""Calls to language models, whatever provider they are at.

`model_specs` reads the database and runs on the database executor; `complete` and
`stream` run in an event loop and touch no database.
"""

from collections.abc import AsyncGenerator, Iterable

from agents.choices import ModelKind, ProviderKind
from agents.resources import demo_provider, openai_provider
from agents.resources.catalogue import public_id_of
from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.models import Model, ModelProvider
from agents.resources.openai_clients import close_clients
from agents.resources.shapes import (
    DEFAULT_SECONDS,
    LlmAnswer,
    LlmChunk,
    LlmRequest,
    ModelSpec,
)
from langbot.lib.secrets import SecretUnreadableError


def model_specs(ids: Iterable[str], workspace_id: int) -> dict[str, ModelSpec]:
    """Return the usable models among `ids`; unknown, disabled and foreign ones lack.

    One query, and one for the key of each provider.
    """
    wanted = {given: public_id_of(given) for given in ids}
    rows = Model.objects.filter(
        public_id__in=[known for known in wanted.values() if known],
        enabled=True,
        provider__enabled=True,
        provider__workspace_id=workspace_id,
    ).select_related("provider")
    # One key that cannot be decrypted must not hide the other providers' models.
    found = {row.public_id: row for row in rows.defer("provider__api_key")}
    keys = {pk: _key(pk) for pk in {row.provider_id for row in found.values()}}
    return {
        given: _spec(found[known], keys[found[known].provider_id])
        for given, known in wanted.items()
        if known in found
    }


def _key(provider_pk: int) -> str | None:
    try:
        return ModelProvider.objects.values_list("api_key", flat=True).get(
            pk=provider_pk
        )
    except SecretUnreadableError:
        return None


def _spec(row: Model, api_key: str | None) -> ModelSpec:
    provider = row.provider
    return ModelSpec(
        id=str(row.public_id),
        name=row.name,
        kind=row.kind,
        provider_id=str(provider.public_id),
        provider_name=provider.name,
        provider_kind=provider.kind,
        base_url=provider.base_url,
        api_key=api_key,
        timeout_seconds=provider.timeout_seconds or DEFAULT_SECONDS,
        context_window_tokens=row.context_window_tokens,
        extra_args=row.extra_args if isinstance(row.extra_args, dict) else {},
        key=row.pk,
    )


async def complete(model: ModelSpec, request: LlmRequest) -> LlmAnswer:
    """Return a model's whole answer; raises ModelError."""
    _check_kind(model)
    if model.provider_kind == ProviderKind.DEMO:
        return demo_provider.complete(request)
    return await openai_provider.complete(model, request)


def stream(model: ModelSpec, request: LlmRequest) -> AsyncGenerator[LlmChunk, None]:
    """Yield increments of an answer and, last, its usage; raises ModelError.

    Closing the iterator, or cancelling the task that awaits it, closes the upstream
    response at once.
    """
    _check_kind(model)
    if model.provider_kind == ProviderKind.DEMO:
        return demo_provider.stream(request)
    return openai_provider.stream(model, request)


def _check_kind(model: ModelSpec) -> None:
    if model.kind != ModelKind.LLM:
        message = f"{model.name} is not a language model but a {model.kind} model"
        raise ModelError(ModelErrorCode.BAD_REQUEST, message)


__all__ = [
    "LlmAnswer",
    "LlmChunk",
    "LlmRequest",
    "ModelError",
    "ModelErrorCode",
    "ModelSpec",
    "close_clients",
    "complete",
    "model_specs",
    "stream",
]
