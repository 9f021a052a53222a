"""A runner that measures the host from inside: how long its own calls take."""

import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from runners.sdk import RunContext, Runner, results
from runners.sdk.results import Result

RUNNER_ID = "plugin:langbot-benchmarks/measuring/default"
PATH = f"{__name__}.Measuring"
NEEDLE = "needle"
PAGE = 50


class Measuring(Runner):
    """The text is how often each call is made; the answer has medians in seconds."""

    author = "langbot-benchmarks"
    plugin = "measuring"
    label = "Measuring"
    permissions = {"history": ("page", "search")}

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        repeats = int(ctx.text)
        api = ctx.api
        await api.state_set("number", 1)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "state_get": lambda: api.state_get("number"),
            "history_page": lambda: api.history_page(limit=PAGE),
            "history_search": lambda: api.history_search(NEEDLE),
        }
        found = {name: await _median(call, repeats) for name, call in calls.items()}
        page = await api.history_page(limit=PAGE)
        hits = await api.history_search(NEEDLE)
        found["rows"], found["hits"] = len(page.items), len(hits.items)
        yield results.completed(json.dumps(found))


async def _median(call: Callable[[], Awaitable[Any]], repeats: int) -> float:
    times = []
    await call()  # what the first one loads is not the call's price
    for _ in range(repeats):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
