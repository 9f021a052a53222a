"""The load runner: as many deltas and host calls as it is told.

`mode`, `deltas`, `host_calls` and `seconds` come from the runner config and from
`name=value` words of the input text, which win.
"""
# The SDK is not installed where mypy runs.
# mypy: ignore-errors

import asyncio
from itertools import cycle

from langbot_plugin.api.definition.components.runner.runner import Runner
from langbot_plugin.api.entities.builtin.provider.message import Message, MessageChunk
from langbot_plugin.api.entities.builtin.runner import RunnerResult

DEFAULTS = {"mode": "stream", "deltas": 200, "host_calls": 5, "seconds": 10.0}


def parameters(ctx):
    """Merge defaults, runner config and the words of the input."""
    values = dict(DEFAULTS)
    words = [word.partition("=") for word in ctx.input.to_text().split()]
    given = dict(ctx.config) | {name: value for name, mark, value in words if mark}
    for name in DEFAULTS.keys() & given.keys():
        values[name] = type(DEFAULTS[name])(given[name])
    return values


def completed(ctx, text):
    """Build a successful end that carries its whole text."""
    message = Message(role="assistant", content=text)
    return RunnerResult.run_completed(ctx.run_id, message)


async def make_host_calls(ctx):
    """Make one host call at each step, in a fixed mix."""
    for kind in cycle(("set", "get", "history", "set", "get")):
        if kind == "set":
            await ctx.state_set("conversation", "load.value", {"run": ctx.run_id})
        elif kind == "get":
            await ctx.state_get("conversation", "load.value")
        else:
            await ctx.history_page(limit=10)
        yield kind


async def stream(ctx, deltas, host_calls):
    """Yield increments of 20 characters, the host calls spread evenly among them."""
    calls = make_host_calls(ctx)
    made = 0
    for number in range(1, deltas + 1):
        text = f"part {number:06d} of all, "
        chunk = MessageChunk(role="assistant", content=text)
        yield RunnerResult.message_delta(ctx.run_id, chunk)
        while made < host_calls * number // deltas:
            await anext(calls)
            made += 1


class Default(Runner):
    """Produce the load of one run."""

    async def run(self, ctx):
        """Stream, echo or wait."""
        values = parameters(ctx)
        if values["mode"] == "echo":
            yield completed(ctx, ctx.input.to_text())
        elif values["mode"] == "wait":
            await asyncio.sleep(values["seconds"])
            yield completed(ctx, "waited")
        else:
            async for result in stream(ctx, values["deltas"], values["host_calls"]):
                yield result
            yield RunnerResult.run_completed(ctx.run_id)
