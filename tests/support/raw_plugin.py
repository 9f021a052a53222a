"""A plugin of kind `Runner` that does what the test says, right or wrong."""

import asyncio
from typing import Any, Self

from tests.support.plugin_manifests import plugin_container, runner_component
from tests.support.plugin_socket import FRAME_LIMIT, Frame, PluginSocket

_HANDSHAKE = ("initialize_plugin", "get_plugin_container")


class RawPlugin(PluginSocket):
    """A hostile or merely odd plugin for tests.

    `await handshake()` makes it a proper one; from there on the test answers, or
    does not answer, each request of the host by hand. Silence is the default.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        author: str = "raw",
        name: str = "plugin",
        header: bool = True,
    ):
        super().__init__(url, token, header=header)
        self.author = author
        self.name = name
        self.components: list[Frame] = [runner_component("Runner")]

    def container(self, status: str = "mounted") -> Frame:
        """Build the container from the current components."""
        return plugin_container(self.author, self.name, self.components, status=status)

    async def handshake(self) -> Self:
        """Register and answer the host's two questions, in whatever order it asks."""
        registering = asyncio.create_task(self.register(self.container()))
        for _ in _HANDSHAKE:
            asking = asyncio.create_task(self.next_request(*_HANDSHAKE))
            await asyncio.wait(
                {asking, registering}, return_when=asyncio.FIRST_COMPLETED
            )
            if registering.done() and registering.exception():
                asking.cancel()
                break
            request = await asking
            asked = request["action"] == "get_plugin_container"
            await self.reply(request, self.container("initialized") if asked else {})
        await registering
        return self

    async def next_run(self, timeout_seconds: float = 30.0) -> Frame:
        """Return the host's next run request; earlier other requests are dropped."""
        return await self.next_request("run_runner", timeout_seconds=timeout_seconds)

    async def result(
        self,
        request: Frame,
        kind: str,
        data: Any,
        *,
        sequence: int | None = 1,
        run_id: str | None = None,
    ) -> None:
        """Send one result of a run; by default it names the run it belongs to."""
        body = {
            "run_id": run_id or request["data"]["context"]["run_id"],
            "type": kind,
            "data": data,
            "usage": None,
            "sequence": sequence,
            "timestamp": None,
        }
        await self.reply(request, body)

    async def delta(
        self, request: Frame, text: str, *, sequence: int = 1, run_id: str | None = None
    ) -> None:
        """Send one `message.delta`."""
        data = {"chunk": {"role": "assistant", "content": text}}
        await self.result(
            request, "message.delta", data, sequence=sequence, run_id=run_id
        )

    async def complete(self, request: Frame, text: str, *, sequence: int = 1) -> None:
        """Send `run.completed` and the end of the stream."""
        message = {"role": "assistant", "content": text}
        data = {"finish_reason": "stop", "message": message}
        await self.result(request, "run.completed", data, sequence=sequence)
        await self.reply(request, chunk="end")

    async def flood(self, request: Frame, total_bytes: int, width: int = 1024) -> int:
        """Send deltas of `width` bytes as fast as the socket takes them.

        Returns the number sent once they hold `total_bytes`; waits whenever the host
        stops reading.
        """
        count = total_bytes // width
        for sequence in range(1, count + 1):
            text = f"{sequence:010d}".ljust(width, "x")
            await self.delta(request, text, sequence=sequence)
        return count

    async def garbage(self, count: int) -> None:
        """Send messages that are no frames at all, again and again."""
        samples = (
            "",
            "not json",
            "[]",
            "null",
            "{",
            '{"seq_id": "text", "action": 7, "data": []}',
            '{"code": 0}',
            '{"seq_id": 1, "code": "x", "message": null, "data": 3}',
            '{"seq_id": 1e999, "action": "state_get", "data": {}}',
            '{"action": "state_get"}',
            '{"seq_id": -1, "action": "\\ud800", "data": {}}',
            '{"seq_id": 2, "action": "no_such_action", "data": {}}',
        )
        for number in range(count):
            await self.send_text(samples[number % len(samples)])

    async def oversize(self, size: int = FRAME_LIMIT + 1) -> None:
        """Send one message of `size` bytes, by default one more than is allowed."""
        await self.send_text("x" * size)
