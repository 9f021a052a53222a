"""A runner that calls the tools it is told to, for tests of agents that ask agents."""

import json
from collections.abc import AsyncIterator
from typing import Any

from runners.sdk import HostCallError, RunContext, results
from runners.sdk.results import Result
from tests.support.sdk_runners import LoadRunner

PATH = f"{__name__}.Delegating"


class Delegating(LoadRunner):
    """`[[tool, {parameters}], …]`: calls them in turn, says the list of the answers.

    `"$id"` among the parameters is the `sub_run_id` of the answer before.
    """

    name = "delegating"
    capabilities = ("streaming", "tool_calling")
    permissions = {"tools": ["call", "detail"], "models": ["invoke"]}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        answers: list[Any] = []
        for tool, parameters in json.loads(ctx.text):
            last = answers[-1].get("sub_run_id") if answers else None
            given = {
                name: last if value == "$id" else value
                for name, value in parameters.items()
            }
            try:
                answers.append(await ctx.api.call_tool(tool, given))
            except HostCallError as error:
                answers.append({"code": error.code, "details": error.details})
        yield results.completed(json.dumps(answers))
