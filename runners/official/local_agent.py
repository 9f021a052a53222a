"""The agent loop that ships: prompt, history, one model call, its answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from runners.official.local_agent_messages import build_messages
from runners.official.local_agent_schema import CONFIG, DESCRIPTION, LABEL
from runners.protocol.errors import ErrorCode
from runners.sdk import HostCallError, RunContext, Runner, results
from runners.sdk.results import Result

NO_MODEL = "This agent has no usable model: choose one in its settings."
NO_TEXT = "The model gave an empty answer."


@dataclass(slots=True)
class _Answer:
    """What the current model has said so far."""

    text: str = ""
    usage: dict[str, Any] | None = None
    error: HostCallError | None = None


class LocalAgentRunner(Runner):
    """Answer with a model of the host's, falling back when it fails at the start."""

    author = "langbot"
    plugin = "local-agent"
    label = LABEL
    description = DESCRIPTION
    capabilities = ("streaming", "multimodal_input")
    permissions = {
        "models": ("invoke", "stream", "count_tokens"),
        "history": ("page",),
    }
    config = CONFIG

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        can_stream = ctx.can_stream
        models = usable_models(ctx, "stream" if can_stream else "invoke")
        if not models:
            yield results.failed(ErrorCode.RUNNER_NO_MODEL, NO_MODEL)
            return
        messages = await build_messages(ctx)
        answer = _Answer()
        for model in models:
            answer = _Answer()
            if can_stream:
                async for text in _stream(ctx, model, messages, answer):
                    yield results.delta(text)
            else:
                await _invoke(ctx, model, messages, answer)
            if answer.error is None or answer.text:
                break
            yield results.log(f"Model {model} failed: {answer.error}", "warning")
        for result in _end(answer):
            yield result


async def _stream(
    ctx: RunContext, model: str, messages: list[dict[str, Any]], answer: _Answer
) -> AsyncIterator[str]:
    try:
        chunks = ctx.api.invoke_llm_stream(model, messages, **_options(ctx))
        async for part in chunks:
            answer.usage = part.usage or answer.usage
            if part.text:
                answer.text += part.text
                yield part.text
    except HostCallError as error:
        answer.error = error


async def _invoke(
    ctx: RunContext, model: str, messages: list[dict[str, Any]], answer: _Answer
) -> None:
    try:
        reply = await ctx.api.invoke_llm(model, messages, **_options(ctx))
    except HostCallError as error:
        answer.error = error
    else:
        answer.text, answer.usage = reply.message.text, reply.usage


def _end(answer: _Answer) -> list[Result]:
    if answer.error is not None:
        error = answer.error
        return [
            results.failed(
                error.code, error.message, retryable=error.retryable, usage=answer.usage
            )
        ]
    if not answer.text:
        code = ErrorCode.RUNNER_EMPTY_OUTPUT
        return [results.failed(code, NO_TEXT, usage=answer.usage)]
    return [
        results.completed(answer.text),
        results.run_completed(usage=answer.usage),
    ]


def usable_models(ctx: RunContext, operation: str) -> list[str]:
    """Return the configured models this run may use, the primary one first."""
    choice = ctx.config.get("model")
    if isinstance(choice, dict):
        fallbacks = choice.get("fallbacks")
        wanted = [choice.get("primary"), *(fallbacks if fallbacks else ())]
    else:
        wanted = [choice]
    allowed = {
        model.model_id for model in ctx.resources.models if model.allows(operation)
    }
    return [model for model in dict.fromkeys(wanted) if model in allowed]


def _options(ctx: RunContext) -> dict[str, Any]:
    return {"remove_think": ctx.config.get("remove-think") is True}
