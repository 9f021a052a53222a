"""The load runner without the SDK, as fast as Python speaks the wire.

The SDK spends about half a millisecond of CPU on each result, which hides what the
host costs. This plugin does the same as `benchmarks/plugin` on the wire for a small
part of that: `python -m benchmarks.wire_plugin`, address and token as for `lbp run`.
"""

import asyncio
import json
import os
from itertools import cycle, islice
from typing import Any

from tests.support.plugin_manifests import plugin_container, runner_component
from tests.support.plugin_socket import Frame, PluginSocket
from tests.support.runner_sources import config_field

AUTHOR = "langbot-benchmarks"
NAME = "wire"

_DEFAULTS: dict[str, Any] = {
    "mode": "stream",
    "deltas": 200,
    "host_calls": 5,
    "seconds": 10.0,
}
_STATE = {"scope": "conversation", "key": "load.value"}
_CALLS: tuple[tuple[str, Frame], ...] = (
    ("state_set", {**_STATE, "value": {"set": True}}),
    ("state_get", _STATE),
    ("history_page", {"limit": 10, "direction": "backward"}),
    ("state_set", {**_STATE, "value": {"set": True}}),
    ("state_get", _STATE),
)


class WirePlugin(PluginSocket):
    """Serve load runs until the host closes the socket."""

    def __init__(self, url: str, token: str):
        super().__init__(url, token)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer the host's requests; each run is a task of its own."""
        while True:
            request = await self.requests.get()
            task = asyncio.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Frame) -> None:
        action = request["action"]
        if action == "run_runner":
            await self._run(request)
        elif action == "get_plugin_container":
            await self.reply(request, _container("initialized"))
        elif action == "__ping":
            await self.reply(request, {"alive": True})
        else:
            await self.reply(request)

    async def _run(self, request: Frame) -> None:
        context = request["data"]["context"]
        values = _parameters(context)
        sequence, text = 1, context["input"]["text"]
        if values["mode"] == "stream":
            await self._stream(request, values["deltas"], values["host_calls"])
            sequence, text = values["deltas"] + 1, None
        elif values["mode"] == "wait":
            await asyncio.sleep(values["seconds"])
        data: Frame = {"finish_reason": "stop"}
        if text is not None:
            data["message"] = {"role": "assistant", "content": text}
        result = _result(context["run_id"], "run.completed", data, sequence)
        await self.reply(request, result)
        await self.reply(request, chunk="end")

    async def _stream(self, request: Frame, deltas: int, host_calls: int) -> None:
        run_id = request["data"]["context"]["run_id"]
        calls = islice(cycle(_CALLS), host_calls)
        before, between, after = _delta_frame(request["seq_id"], run_id)
        made = 0
        for number in range(1, deltas + 1):
            await self.send_text(
                f"{before}part {number:06d} of all, {between}{number}{after}"
            )
            while made < host_calls * number // deltas:
                action, data = next(calls)
                await self.call(action, {**data, "run_id": run_id})
                made += 1


def _delta_frame(seq_id: int, run_id: str) -> tuple[str, str, str]:
    """Return the JSON before the content, between it and the number, and the rest.

    In the SDK's order and spelling.
    """
    chunk = {"role": "assistant", "content": "#", "is_final": False}
    data = _result(run_id, "message.delta", {"chunk": chunk}, -1)
    frame: Frame = {
        "seq_id": seq_id,
        "code": 0,
        "message": "success",
        "data": data,
        "chunk_status": "continue",
    }
    before, _, rest = json.dumps(frame).partition("#")
    between, _, after = rest.partition("-1")
    return before, between, after


def _result(run_id: str, kind: str, data: Frame, sequence: int) -> Frame:
    return {
        "run_id": run_id,
        "type": kind,
        "data": data,
        "usage": None,
        "sequence": sequence,
        "timestamp": None,
    }


def _parameters(context: Frame) -> dict[str, Any]:
    words = [word.partition("=") for word in context["input"]["text"].split()]
    given = context["config"] | {name: value for name, mark, value in words if mark}
    return {
        name: type(default)(given.get(name, default))
        for name, default in _DEFAULTS.items()
    }


def _container(status: str) -> Frame:
    config = [config_field(name, value) for name, value in _DEFAULTS.items()]
    component = runner_component("Runner", config=config)
    return plugin_container(AUTHOR, NAME, [component], status=status)


async def _main() -> None:
    url = os.environ["DEBUG_RUNTIME_WS_URL"]
    async with WirePlugin(url, os.environ["PLUGIN_DEBUG_KEY"]) as plugin:
        serving = asyncio.create_task(plugin.serve())
        await plugin.register(_container("mounted"))
        await plugin.closed.wait()
        serving.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
