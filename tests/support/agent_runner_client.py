"""A plugin of our own that speaks the `AgentRunner` / `run_agent` dialect.

It does on the wire what the source-built SDK 0.5.3 does: kind `AgentRunner`, cumulative
deltas, no `__ping`, no `__cancel_action`, cancel by polling `run_get`. What a run does
is told by the runner config or by `name=value` words of the input; see `DEFAULTS`.

Alone: `python -m tests.support.agent_runner_client URL TOKEN`.
"""

import asyncio
import base64
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.support.plugin_manifests import (
    ARTIFACT_PERMISSIONS,
    PERMISSIONS,
    plugin_container,
    runner_component,
)
from tests.support.plugin_socket import Frame, HostCallError, PluginSocket
from tests.support.runner_sources import config_field
from tests.support.sdk_environment import RUNNER_NAME

DEFAULTS: Mapping[str, Any] = {
    "deltas": 3,
    "calls": "",
    "seconds": 0.0,
    "artifact": "",
    "fail": "",
    # Seconds between the questions whether to stop, as the official runners ask.
    "poll": 0.5,
}


class AgentRunnerClient(PluginSocket):
    """Register with a host and serve its runs until left.

    `async with AgentRunnerClient(url, token) as client:` is registered and serving
    inside the block. `answers` maps a run's id to its host calls' answers, `ended`
    to how it ended: completed, failed or cancelled.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        author: str = "dialect",
        name: str = "agent-runner",
        header: bool = True,
    ):
        super().__init__(url, token, header=header)
        self.author = author
        self.name = name
        self.answers: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, *, read: bool = True) -> None:
        """Connect, register and start serving; raises HostCallError when refused."""
        await super().open(read=read)
        self._start(self._serve())
        await self.register(self.container("mounted"))

    async def close(self) -> None:
        """Stop serving and close the socket."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()

    def container(self, status: str) -> Frame:
        """Build the container: one component of kind `AgentRunner`."""
        component = runner_component(
            "AgentRunner",
            config=[config_field(name, value) for name, value in DEFAULTS.items()],
            permissions={**PERMISSIONS, **ARTIFACT_PERMISSIONS},
        )
        return plugin_container(self.author, self.name, [component], status=status)

    def _start(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        while True:
            request = await self.requests.get()
            if request["action"] == "run_agent" and not _names_default(request):
                await self._refuse_run(request)
            elif request["action"] == "run_agent":
                self._start(AgentRun(self, request).serve())
            elif request["action"] == "initialize_plugin":
                await self.reply(request)
            elif request["action"] == "get_plugin_container":
                await self.reply(request, self.container("initialized"))
            else:
                await self.refuse(
                    request, f"ValueError: Action {request['action']} not found"
                )

    async def _refuse_run(self, request: Frame) -> None:
        """Answer a run of a runner that it does not have, as the SDK does."""
        name = request["data"].get("runner_name")
        data = {"error": f"Runner {name} not found", "code": "runner.not_found"}
        await self.reply(request, {"type": "run.failed", "data": data})
        await self.reply(request, chunk="end")


def _names_default(request: Frame) -> bool:
    return bool(request["data"].get("runner_name") == RUNNER_NAME)


class AgentRun:
    """One `run_agent` request being served."""

    def __init__(self, client: AgentRunnerClient, request: Frame):
        self._client = client
        self._request = request
        self._context = request["data"]["context"]
        self.run_id: str = self._context["run_id"]
        self.values = _parameters(self._context)
        self._sequence = 0
        self._answers = client.answers.setdefault(self.run_id, {})

    async def serve(self) -> None:
        """Carry the run to its end, whatever that is."""
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(self._watch_cancel())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            await _ended(watch)
            if not work.done():
                await _ended(work)
                await self._fail("cancelled", "The run was cancelled")
            await self._client.reply(self._request, chunk="end")
        except (ConnectionClosed, ConnectionError):
            self._client.ended[self.run_id] = "disconnected"
        finally:
            await _ended(work)
            await _ended(watch)

    async def _work(self) -> None:
        text = ""
        for number in range(self.values["deltas"]):
            text += f"part {number} "
            await self._delta(text)
        for action in filter(None, self.values["calls"].split(",")):
            await self._host_call(action)
        await asyncio.sleep(self.values["seconds"])
        if self.values["artifact"]:
            await self._create_artifact(self.values["artifact"])
        if self.values["fail"]:
            await self._fail(self.values["fail"], "asked to fail")
            return
        await self._delta(text, is_final=True)
        await self._result("run.completed", {"finish_reason": "stop"})
        self._client.ended[self.run_id] = "completed"

    async def _watch_cancel(self) -> None:
        while True:
            await asyncio.sleep(self.values["poll"])
            try:
                run = await self.call("run_get", {"target_run_id": self.run_id})
            except HostCallError:
                # Not being allowed to ask is no order to stop.
                continue
            if run["cancel_requested_at"] is not None or run["status"] == "cancelled":
                return

    async def call(self, action: str, data: Frame) -> Frame:
        """Make one host call in the name of this run."""
        return await self._client.call(action, {"run_id": self.run_id, **data})

    async def _host_call(self, action: str) -> None:
        """Make one call by its short form `action` or `action:argument`."""
        name, _, argument = action.partition(":")
        try:
            self._answers[name] = await self.call(name, _arguments(name, argument))
        except HostCallError as error:
            self._answers[name] = error

    async def _create_artifact(self, text: str) -> None:
        data = {
            "artifact_type": "file",
            "mime_type": "text/plain",
            "name": "note.txt",
            "content_base64": base64.b64encode(text.encode()).decode(),
        }
        await self._result("artifact.created", data)

    async def _delta(self, text: str, *, is_final: bool = False) -> None:
        chunk = {"role": "assistant", "content": text, "is_final": is_final}
        await self._result("message.delta", {"chunk": chunk})

    async def _fail(self, code: str, message: str) -> None:
        data = {"error": message, "code": code, "retryable": False}
        await self._result("run.failed", data)
        is_cancel = code == "cancelled"
        self._client.ended[self.run_id] = "cancelled" if is_cancel else "failed"

    async def _result(self, kind: str, data: Frame) -> None:
        self._sequence += 1
        await self._client.reply(
            self._request,
            {
                "run_id": self.run_id,
                "type": kind,
                "data": data,
                "usage": None,
                "sequence": self._sequence,
                "timestamp": None,
            },
        )


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel what still runs, and raise what made it fail."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _parameters(context: Frame) -> dict[str, Any]:
    words = [word.partition("=") for word in (context["input"]["text"] or "").split()]
    given = dict(context["config"]) | {
        name: value for name, mark, value in words if mark
    }
    known = {name: value for name, value in given.items() if name in DEFAULTS}
    return dict(DEFAULTS) | {
        name: type(DEFAULTS[name])(value) for name, value in known.items()
    }


def _arguments(action: str, argument: str) -> Frame:
    """Return the request data of the calls a run can be told to make."""
    state = {"scope": "conversation", "key": "test.value"}
    arguments: dict[str, Frame] = {
        "state_set": {**state, "value": argument},
        "state_get": state,
        "history_page": {"conversation_id": None, "limit": 10, "direction": "backward"},
        "artifact_metadata": {"artifact_id": argument},
        "artifact_read": {"artifact_id": argument},
        "artifact_read_range": {"artifact_id": argument, "offset": 0, "length": 4},
    }
    return arguments.get(action, {})


async def _serve_forever(url: str, token: str) -> None:
    async with AgentRunnerClient(url, token) as client:
        sys.stdout.write("registered\n")
        sys.stdout.flush()
        await client.closed.wait()


def main() -> None:
    """Serve the host at the URL until it closes the socket."""
    _, url, token = sys.argv
    asyncio.run(_serve_forever(url, token))


if __name__ == "__main__":
    main()
