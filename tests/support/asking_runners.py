"""Runners that need a person: for their tools, or for an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

from runners.sdk import HostCallError, RunContext, results
from runners.sdk.interactions import Button, FormField, Interaction
from runners.sdk.results import Result
from tests.support.sdk_runners import LoadRunner


class Asking(LoadRunner):
    """`<number>`: says `before`, calls the tool `count`, says what it answered.

    What it answers with is `number <n>`, or the code of the error.
    """

    name = "asking"
    capabilities: ClassVar[Iterable[str]] = ("streaming", "tool_calling", "resume")
    permissions = {"tools": ["call", "detail"]}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        if ctx.resumed:
            (done,) = ctx.resumed
            answer = done.get("result") or done["error"]["code"]
            yield results.completed(f"{done['decision']} {answer}")
            return
        yield results.delta("before ")
        try:
            answer = await ctx.api.call_tool(
                "count", {"number": int(ctx.text)}, tool_call_id="call_a"
            )
        except HostCallError as error:
            answer = error.code
        yield results.delta(f"got {answer}")


class Forgetful(Asking):
    """The same, but it cannot go on after a pause."""

    name = "forgetful"
    capabilities = ("streaming", "tool_calling")


class Both(Asking):
    """`<number> <seconds> <each|all|late>`: calls `count` and `count_slowly` at once.

    It tells of each answer as it comes, or of all together; with `late` it calls
    `count` once `count_slowly` has answered, and tells of both then.
    """

    name = "both"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        if ctx.resumed:
            yield results.completed("went on")
            return
        number, seconds, _ = ctx.text.split()
        calls: dict[str, dict[str, Any]] = {
            "count": {"number": int(number)},
            "count_slowly": {"number": -int(number), "seconds": float(seconds)},
        }
        for name, parameters in calls.items():
            yield results.tool_started(f"id_{name}", name, parameters)
        async for name, answer in self._answers(ctx, calls):
            yield results.tool_completed(f"id_{name}", name, answer, None)
        yield results.completed("went through")

    async def _answers(
        self, ctx: RunContext, calls: dict[str, dict[str, Any]]
    ) -> AsyncIterator[tuple[str, Any]]:
        async def call(name: str) -> tuple[str, Any]:
            key, given = f"id_{name}", calls[name]
            try:
                return name, await ctx.api.call_tool(name, given, tool_call_id=key)
            except HostCallError as error:
                return name, {"error": error.code}

        slow = asyncio.create_task(call("count_slowly"))
        if ctx.text.endswith("late"):
            await asyncio.wait([slow])
        asked = [slow, asyncio.create_task(call("count"))]
        if not ctx.text.endswith("each"):
            await asyncio.wait(asked)
        for answered in asyncio.as_completed(asked):
            yield await answered


class Clipping(LoadRunner):
    """`<calls>`: calls the client's tool `read_clipboard`, says each answer."""

    name = "clipping"
    capabilities = ("streaming", "tool_calling")
    permissions = {"tools": ["call", "detail"]}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        for number in range(int(ctx.text)):
            answer = await ctx.api.call_tool("read_clipboard", {"number": number})
            yield results.delta(f"{answer['text']} ")


class Questioning(LoadRunner):
    """Asks for a name; an answer is repeated."""

    name = "questioning"
    capabilities = ("streaming", "interactions")
    permissions = {"interactions": ["request"]}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        answer = ctx.submission
        if answer is not None:
            said = f"{answer.interaction_id} {answer.action_id} {answer.values}"
            yield results.completed(said)
            return
        asked = Interaction(
            interaction_id="name-1",
            title="Who are you?",
            fields=[FormField(id="name", label="Name", required=True)],
            actions=[Button(id="ok", label="OK", style="primary")],
            fallback_text="Who are you?",
        )
        yield results.interaction(asked)
