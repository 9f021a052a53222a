"""Runners that need a person: for their tools, or for an answer."""

from collections.abc import AsyncIterator, Iterable
from typing import ClassVar

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
