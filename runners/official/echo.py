"""The smallest useful runner: it says back what it heard."""

import math
from collections.abc import AsyncIterator

from runners.sdk import RunContext, Runner, results
from runners.sdk.results import Result

MAX_DELTAS = 64  # one a word, until an answer has more words


class EchoRunner(Runner):
    """Show that events reach a runner and its words come back."""

    author = "langbot"
    plugin = "echo"
    label = {"en_US": "Echo", "zh_Hans": "回声"}
    description = {
        "en_US": "Says back what it heard. For trying out bots and bindings.",
        "zh_Hans": "原样回复收到的内容，用于试用机器人和绑定。",
    }
    capabilities = ("streaming",)
    config = (
        {
            "name": "prefix",
            "type": "string",
            "label": {"en_US": "Prefix", "zh_Hans": "前缀"},
            "description": {
                "en_US": "Put before every answer.",
                "zh_Hans": "加在每条回复之前。",
            },
            "required": False,
            "default": "",
        },
    )

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        prefix = ctx.config.get("prefix") or ""
        answer = f"{prefix}You said: {ctx.text or ctx.event.event_type}"
        if ctx.can_stream:
            for part in _parts(answer):
                yield results.delta(part)
        yield results.completed(answer)
        yield results.run_completed()


def _parts(text: str) -> list[str]:
    words = text.split(" ")
    size = math.ceil(len(words) / MAX_DELTAS)
    groups = [
        " ".join(words[start : start + size]) for start in range(0, len(words), size)
    ]
    return [f"{group} " for group in groups[:-1]] + groups[-1:]
