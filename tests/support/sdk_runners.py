"""Runners of the project's own SDK that tests put under load.

A plugin process hosts them by `LANGBOT_RUNNERS`; all are one plugin, `tests/load`. The
text of a message is the runner's parameters.
"""

import asyncio
from collections.abc import AsyncIterator

from runners.sdk import HostCallError, RunContext, Runner, results
from runners.sdk.results import Result

PLUGIN = "tests/load"
PATHS = tuple(
    f"{__name__}.{name}"
    for name in ("Waiting", "Streaming", "Thinking", "Flooding", "Working")
) + tuple(
    f"tests.support.asking_runners.{name}"
    for name in ("Asking", "Forgetful", "Questioning", "Both", "Clipping")
)


class LoadRunner(Runner):
    author = "tests"
    plugin = "load"
    permissions = {"models": ["invoke", "stream"]}


class Waiting(LoadRunner):
    """`<seconds> <word>`: sleeps, then says `done <word>`."""

    name = "waiting"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        seconds, word = ctx.text.split()
        await asyncio.sleep(float(seconds))
        yield results.completed(f"done {word}")


class Streaming(LoadRunner):
    """`<deltas> <seconds> <calls> <word>`: deltas, host calls spread among them.

    Says `<word>.<n> ` for each n, and at the end what the calls answered: `=<sum>`.
    """

    name = "streaming"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        deltas, seconds, calls, word = ctx.text.split()
        every = max(1, int(deltas) // max(1, int(calls)))
        total = 0
        for number in range(int(deltas)):
            yield results.delta(f"{word}.{number} ")
            if int(calls) and number % every == 0:
                await ctx.api.state_set("number", number)
                total += await ctx.api.state_get("number")
            await asyncio.sleep(float(seconds) / int(deltas))
        yield results.delta(f"={total}")


class Thinking(LoadRunner):
    """`<streams> <word>`: asks the model so often, says how each stream went.

    `whole=<n> broken=<n> wrong=<n>`: complete and as the others, ended by a typed
    error, complete but different.
    """

    name = "thinking"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        streams, word = ctx.text.split()
        model = ctx.resources.models[0].model_id
        messages = [{"role": "user", "content": f"{word} " * 60}]
        answer = await ctx.api.invoke_llm(model, messages)
        expected = answer.message.content
        count = {"whole": 0, "broken": 0, "wrong": 0}
        for _ in range(int(streams)):
            text = ""
            try:
                async for part in ctx.api.invoke_llm_stream(model, messages):
                    text += str(part.chunk.content or "") if part.chunk else ""
            except HostCallError:
                count["broken"] += 1
            else:
                count["whole" if text == expected else "wrong"] += 1
        yield results.completed(" ".join(f"{k}={v}" for k, v in count.items()))


class Working(LoadRunner):
    """`<steps> <seconds> <word>`: in each step a call of the tool `count` and a word.

    A call whose outcome nobody knows is not made again: its step goes on without.
    """

    name = "working"
    capabilities = ("streaming", "tool_calling")
    permissions = {"tools": ["call", "detail"]}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        steps, seconds, word = ctx.text.split()
        for number in range(int(steps)):
            try:
                await ctx.api.call_tool("count", {"number": number})
            except HostCallError as error:
                if error.code != "outcome_unknown":
                    raise
            yield results.delta(f"{word}.{number} ")
            await asyncio.sleep(float(seconds) / int(steps))


class Flooding(LoadRunner):
    """`<megabytes> <delta|log> <seconds>`: so much in that time; 0 is at once."""

    name = "flooding"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        megabytes, kind, seconds = ctx.text.split()
        make = results.delta if kind == "delta" else results.log
        for _ in range(int(megabytes) * 64):
            yield make("x" * 16384)
            if float(seconds):
                await asyncio.sleep(float(seconds) / int(megabytes) / 64)
        yield results.completed("all sent")


def streamed_text(text: str) -> str:
    """Return what `Streaming` says for these parameters."""
    deltas, _, calls, word = text.split()
    every = max(1, int(deltas) // max(1, int(calls)))
    words = "".join(f"{word}.{number} " for number in range(int(deltas)))
    return f"{words}={sum(range(0, int(deltas), every)) if int(calls) else 0}"


def worked_text(text: str) -> str:
    """Return what `Working` says for these parameters."""
    steps, _, word = text.split()
    return "".join(f"{word}.{number} " for number in range(int(steps)))
