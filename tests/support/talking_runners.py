"""Runners that people talk to while they answer, for tests of the web chat."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import ClassVar

from runners.sdk import RunContext, results
from runners.sdk.results import Result
from tests.support.sdk_runners import LoadRunner

PATHS = tuple(f"{__name__}.{name}" for name in ("Listening", "Dawdling", "Breaking"))
ENOUGH = "enough"
_LONG = 60.0  # seconds


class Dawdling(LoadRunner):
    """Says `slow`, and nothing more until somebody stops it."""

    name = "dawdling"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.delta("slow ")
        await asyncio.sleep(ctx.seconds_left or _LONG)


class Listening(LoadRunner):
    """Says `heard <text>` of what people add, until one of them says `enough`."""

    name = "listening"
    capabilities: ClassVar[Iterable[str]] = ("streaming", "steering")

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.reasoning("I listen.")
        yield results.delta("listening ")
        said = ""
        while said != ENOUGH:
            await asyncio.sleep(0.1)
            for item in await ctx.api.steering_pull():
                said = item.input.text or ""
                yield results.delta(f"heard {said} ")


class Breaking(LoadRunner):
    """Begins to answer, and cannot go on."""

    name = "breaking"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.delta("I begin ")
        raise ValueError("it broke")
