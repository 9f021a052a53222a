"""A remote runtime for tests: a raw plugin that uses the control plane."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.host import RunningHost, aside
from tests.support.plugin_socket import Frame, HostCallError
from tests.support.raw_plugin import RawPlugin
from tests.support.raw_runs import unregistered


class RemoteRuntime:
    """One runtime on one plugin connection."""

    def __init__(self, plugin: RawPlugin, runtime_id: str):
        self.plugin = plugin
        self.runtime_id = runtime_id

    async def call(self, action: str, **data: Any) -> Frame:
        """Return the answer's data; raises HostCallError."""
        return await self.plugin.call(action, data)

    async def refused(self, action: str, **data: Any) -> str | None:
        """Return the code of the error, None where there is none."""
        try:
            await self.call(action, **data)
        except HostCallError as error:
            return error.code
        return None

    async def register(self, **details: Any) -> Frame:
        return await self.call(
            "runtime_register", runtime_id=self.runtime_id, **details
        )

    async def claim(self, **wanted: Any) -> Any:
        """Return a claimed run, None when none waits."""
        try:
            return await self.call("run_claim", runtime_id=self.runtime_id, **wanted)
        except HostCallError as error:
            if error.code == "not_found":
                return None
            raise

    def holding(self, run: Frame) -> Frame:
        """Return what names a claim."""
        return {
            "target_run_id": run["run_id"],
            "runtime_id": self.runtime_id,
            "claim_token": run["claim_token"],
        }

    async def append(self, run_id: str, kind: str, data: Any, **more: Any) -> Frame:
        result = {"run_id": run_id, "type": kind, "data": data, **more}
        return await self.call("run_append_result", target_run_id=run_id, result=result)

    async def say(self, run_id: str, text: str, **more: Any) -> Frame:
        """Append a delta."""
        chunk = {"role": "assistant", "content": text}
        return await self.append(run_id, "message.delta", {"chunk": chunk}, **more)

    async def finish(self, run_id: str, text: str) -> Frame:
        """Append the end of a run."""
        message = {"role": "assistant", "content": text}
        data = {"finish_reason": "stop", "message": message}
        return await self.append(run_id, "run.completed", data)


@asynccontextmanager
async def remote_runtime(
    host: RunningHost, name: str, **token: Any
) -> AsyncIterator[RemoteRuntime]:
    """Yield a registered runtime; its plugin's token carries the control plane."""
    rights = {"control_plane": True, **token}
    async with unregistered(host, name, **rights) as plugin:
        await plugin.handshake()
        runtime = RemoteRuntime(plugin, name)
        await runtime.register()
        yield runtime


def send_to_queue(
    host: RunningHost, queue: str, text: str = "hello", **metadata: Any
) -> str:
    """Send the echo agent a message that waits in a queue; returns its run's id."""
    conversation = host.api("POST", "conversations/", json={})["id"]
    body = {"text": text, "agent": "echo", "metadata": metadata | {"queue_name": queue}}
    path = f"conversations/{conversation}/messages/"
    return str(host.api("POST", path, json=body)["run_id"])


async def queued(
    host: RunningHost, queue: str, text: str = "hello", **metadata: Any
) -> str:
    """Send to a queue while the test's sockets go on."""
    return await aside(send_to_queue, host, queue, text, **metadata)
