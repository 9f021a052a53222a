"""The agent loop that ships: prompt, history, model calls, tools, the answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from runners.official.local_agent_compaction import compact
from runners.official.local_agent_follow_ups import (
    between_rounds,
    plain_messages,
    pull,
)
from runners.official.local_agent_messages import build_talk
from runners.official.local_agent_schema import CONFIG, DESCRIPTION, LABEL
from runners.official.local_agent_tools import (
    WantedCalls,
    carry_out,
    round_limit,
    tool_functions,
)
from runners.protocol.errors import ErrorCode
from runners.sdk import HostCallError, RunContext, Runner, results
from runners.sdk.results import Result

NO_MODEL = "This agent has no usable model: choose one in its settings."
NO_TEXT = "The model gave an empty answer."


@dataclass(slots=True)
class _Answer:
    """What the current model has said so far."""

    text: str = ""
    reasoning: str = ""  # of an answer that came as a whole
    usage: dict[str, Any] | None = None
    error: HostCallError | None = None
    wanted: WantedCalls = field(default_factory=WantedCalls)
    goes_on: bool = False

    def begin(self) -> None:
        """Forget how the model before failed."""
        self.error = None


class LocalAgentRunner(Runner):
    """Answer with a model of the host's, falling back when it fails at the start.

    A model may ask for tools, round after round; after the last one it has to answer.
    What people say meanwhile it reads after its tools and before it would end (LB-86).
    """

    author = "langbot"
    plugin = "local-agent"
    label = LABEL
    description = DESCRIPTION
    capabilities = (
        "streaming",
        "multimodal_input",
        "tool_calling",
        "resume",
        "steering",
    )
    permissions = {
        "models": ("invoke", "stream", "count_tokens"),
        "tools": ("detail", "call"),
        "history": ("page",),
    }
    config = CONFIG

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        models = usable_models(ctx, "stream" if ctx.can_stream else "invoke")
        if not models:
            yield results.failed(ErrorCode.RUNNER_NO_MODEL, NO_MODEL)
            return
        talk, functions = await build_talk(ctx), await tool_functions(ctx)
        compaction = await compact(ctx, usable_models(ctx, "invoke"), talk, functions)
        if compaction.problem:
            yield results.log(f"No summary was kept: {compaction.problem}", "warning")
        messages = compaction.talk.messages()
        spent: dict[str, Any] = {}
        _add_usage(spent, compaction.usage)
        for number in range(round_limit(ctx.config) + 1):
            is_last = number == round_limit(ctx.config)
            answer = _Answer()
            asked = _Asked(messages, [] if is_last else functions)
            async for result in _ask(ctx, models, asked, answer):
                yield result
            answer.usage = _add_usage(spent, answer.usage)
            async for result in _go_on(ctx, messages, answer, may_say_more=not is_last):
                yield result
            if not answer.goes_on:
                break
        for result in _end(answer):
            yield result


async def _go_on(
    ctx: RunContext,
    messages: list[dict[str, Any]],
    answer: _Answer,
    *,
    may_say_more: bool,
) -> AsyncIterator[Result]:
    """Add what the next round is asked for; `goes_on` says whether there is one."""
    if answer.error is not None:
        return
    if answer.wanted.calls:
        if answer.text:
            yield results.completed(answer.text)
        messages.append(answer.wanted.message(answer.text))
        async for result in carry_out(ctx, answer.wanted, messages):
            yield result
        messages += between_rounds(await pull(ctx))
        answer.goes_on = True
    elif answer.text and may_say_more and (said := plain_messages(await pull(ctx))):
        yield results.completed(answer.text)
        messages += [{"role": "assistant", "content": answer.text}, *said]
        answer.goes_on = True


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a model is asked, and with which tools."""

    messages: list[dict[str, Any]]
    functions: list[dict[str, Any]]


async def _ask(
    ctx: RunContext, models: list[str], asked: _Asked, answer: _Answer
) -> AsyncIterator[Result]:
    """Ask one model after the other until one has begun to answer."""
    for model in models:
        answer.begin()
        if ctx.can_stream:
            async for result in _stream(ctx, model, asked, answer):
                yield result
        else:
            await _invoke(ctx, model, asked, answer)
            if answer.reasoning:
                yield results.reasoning(answer.reasoning)
        if answer.error is None or answer.text:
            return
        yield results.log(f"Model {model} failed: {answer.error}", "warning")


async def _stream(
    ctx: RunContext, model: str, asked: _Asked, answer: _Answer
) -> AsyncIterator[Result]:
    answer.wanted = WantedCalls()
    try:
        chunks = ctx.api.invoke_llm_stream(
            model, asked.messages, asked.functions, **_options(ctx)
        )
        async for part in chunks:
            answer.usage = part.usage or answer.usage
            answer.wanted.add(part.chunk.tool_calls if part.chunk else None)
            if part.reasoning:
                yield results.reasoning(part.reasoning)
            if part.text:
                answer.text += part.text
                yield results.delta(part.text)
    except HostCallError as error:
        answer.error = error


async def _invoke(ctx: RunContext, model: str, asked: _Asked, answer: _Answer) -> None:
    try:
        reply = await ctx.api.invoke_llm(
            model, asked.messages, asked.functions, **_options(ctx)
        )
    except HostCallError as error:
        answer.error = error
    else:
        answer.text, answer.usage = reply.message.text, reply.usage
        answer.reasoning = reply.message.reasoning
        answer.wanted.add(reply.message.tool_calls)


def _add_usage(
    spent: dict[str, Any], usage: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Add an answer's numbers to those of the run; returns them, None without any."""
    for name, value in (usage or {}).items():
        known = spent.get(name)
        is_sum = type(value) in (int, float) and type(known) in (int, float)
        spent[name] = known + value if is_sum else value
    return spent or None


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
