"""Bodies of SDK runners for tests, written into generated plugins.

Each takes its numbers from the agent's runner config, and from `name=value` words
of the input text, which win. They work on every SDK from 0.6.0b3 to 0.7.18.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any


@dataclass(frozen=True, slots=True)
class RunnerSource:
    """One runner: its code and what its component manifest declares for it."""

    code: str
    config: Sequence[Mapping[str, Any]] = ()
    permissions: Mapping[str, list[str]] = field(default_factory=dict)
    capabilities: Mapping[str, bool] = field(default_factory=dict)


_TEMPLATE = '''\
"""A runner written by the tests."""

import asyncio

from langbot_plugin.api.definition.components.runner.runner import Runner
from langbot_plugin.api.entities.builtin.provider.message import Message, MessageChunk
from langbot_plugin.api.entities.builtin.runner import RunnerResult

DEFAULTS = {defaults!r}


def parameters(ctx):
    """Merge defaults, runner config and `name=value` words of the input."""
    values = dict(DEFAULTS)
    words = [word.partition("=") for word in ctx.input.to_text().split()]
    given = dict(ctx.config) | {{name: value for name, mark, value in words if mark}}
    for name, value in given.items():
        if name in values:
            values[name] = type(values[name])(value)
    return values


def delta(ctx, text, is_final=False):
    """Build one chunk; the content is the full text so far."""
    chunk = MessageChunk(role="assistant", content=text, is_final=is_final)
    return RunnerResult.message_delta(ctx.run_id, chunk)


def completed(ctx, text):
    """Build the end of a successful run."""
    message = Message(role="assistant", content=text)
    return RunnerResult.run_completed(ctx.run_id, message)


class Default(Runner):
    """Runs the body that the test chose."""

    async def run(self, ctx):
        """Yield the results of one run."""
        values = parameters(ctx)
{body}
'''

_FIELD_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


def runner_source(
    body: str,
    defaults: Mapping[str, Any],
    *,
    permissions: Mapping[str, list[str]] | None = None,
    capabilities: Mapping[str, bool] | None = None,
) -> RunnerSource:
    """Build a runner from the body of its `run`, which sees `ctx` and `values`.

    Every default becomes a field of the config schema, typed by its value.
    """
    code = _TEMPLATE.format(defaults=dict(defaults), body=indent(body.strip(), " " * 8))
    config = [config_field(name, value) for name, value in defaults.items()]
    return RunnerSource(code, config, permissions or {}, capabilities or {})


def config_field(name: str, default: Any) -> dict[str, Any]:
    """Describe one optional field of a runner's config schema."""
    return {
        "name": name,
        "type": _FIELD_TYPES[type(default)],
        "label": {"en_US": name.replace("_", " ").capitalize()},
        "required": False,
        "default": default,
    }


# Cumulative content, as the official runners send it; `width` characters are added
# by each delta.
streaming = runner_source(
    """
text = ""
for number in range(values["deltas"]):
    text += f"part {number} ".ljust(values["width"], ".")
    yield delta(ctx, text)
    await asyncio.sleep(values["pause"])
yield delta(ctx, text, is_final=True)
yield completed(ctx, text)
""",
    {"deltas": 20, "width": 20, "pause": 0.0},
)

waiting = runner_source(
    """
await asyncio.sleep(values["seconds"])
yield completed(ctx, f"waited {values['seconds']:g}")
""",
    {"seconds": 10.0},
)

# Reports every answer as a log line `<call> ok` or `<call> <error>` and in the reply.
host_calls = runner_source(
    """
key = values["key"]
calls = {
    "state_set": lambda: ctx.state_set("conversation", key, values["value"]),
    "state_get": lambda: ctx.state_get("conversation", key),
    "history_page": lambda: ctx.history_page(limit=10),
    "get_prompt": ctx.get_prompt,
    "run_get": ctx.run_get,
}
lines = []
for name in values["calls"].split(","):
    try:
        answer = await calls[name]()
    except Exception as error:
        code = getattr(getattr(error, "error", None), "code", None)
        lines.append(f"{name} refused {code or type(error).__name__}")
    else:
        if name == "state_get":
            lines.append(f"{name} ok {answer['value']}")
        elif name == "history_page":
            lines.append(f"{name} ok {len(answer.items)}")
        elif name == "run_get":
            lines.append(f"{name} ok {getattr(answer.status, 'value', answer.status)}")
        else:
            lines.append(f"{name} ok")
    await ctx.log(lines[-1])
yield completed(ctx, "; ".join(lines))
""",
    {
        "calls": "state_set,state_get,history_page,get_prompt,run_get",
        "key": "test.value",
        "value": "kept",
    },
    permissions={"history": ["page"]},
)

# Fails by a typed result (`how=result`), an exception, or an early end.
failing = runner_source(
    """
for number in range(values["deltas"]):
    yield delta(ctx, "part " * (number + 1))
if values["how"] == "raise":
    raise RuntimeError(values["error"])
if values["how"] == "result":
    yield RunnerResult.run_failed(
        ctx.run_id, values["error"], code=values["code"], retryable=True
    )
""",
    {"deltas": 0, "how": "result", "error": "asked to fail", "code": "test.failed"},
)

# Sends results the host must drop or keep as warnings, then completes.
garbage = runner_source(
    """
for number in range(values["count"]):
    for kind, data in (
        ("vendor.custom", {"number": number}),
        ("message.delta", {"chunk": "not an object"}),
        ("message.delta", {}),
        ("message.completed", {"message": {"role": 7}}),
        ("tool.call.started", {"unexpected": True}),
        ("state.updated", {"scope": "galaxy", "key": "k", "value": 1}),
        ("processor.log", {"text": ["list"], "level": "loud"}),
        ("", {}),
    ):
        yield RunnerResult(run_id=ctx.run_id, type=kind, data=data)
yield completed(ctx, "after the garbage")
""",
    {"count": 1},
)
