"""A registered plugin that sends fuzzed frames while its runs are open."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from websockets.exceptions import ConnectionClosed

from tests.support.fuzzed_frames import Drawn, place
from tests.support.host import RunningHost, aside
from tests.support.plugin_socket import Frame, HostCallError
from tests.support.raw_plugin import RawPlugin

T = TypeVar("T")

_ERROR_LINE = re.compile(r"^.*\[(?:\x1b\[\d+m)*(?:error|critical)\b.*$", re.MULTILINE)

FRAMES_PER_RUN = 25
# A steady load: without a pause it would be the runs of the batches, two cores full
# of them, that others wait for. Floods have tests of their own.
_BATCH_SECONDS = 0.1
GARBAGE, NOT_UTF8 = 4008, 1007
"""The close codes that such a plugin earns; any other is the host's mistake."""

_LOST = (ConnectionClosed, ConnectionError)


class FuzzingPlugin:
    """Sends frames, a run for each 25 of them, and connects again when cut off."""

    def __init__(self, host: RunningHost, plugin: RawPlugin) -> None:
        self.plugin = plugin
        self.runs: list[str] = []
        self.sent = 0
        self.closes: Counter[int | None] = Counter()
        self.errors: Counter[str] = Counter()
        self._host = host

    async def send_all(self, frames: Sequence[Drawn]) -> None:
        """Send every frame once; raises when the host answers no more."""
        due = time.monotonic()
        for start in range(0, len(frames), FRAMES_PER_RUN):
            await self._send_batch(frames[start : start + FRAMES_PER_RUN])
            due += _BATCH_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def serve(self) -> str:
        """Complete one more run, past requests that were left over; returns its id."""
        run = await self._begin_run()
        await self._end(run)
        return self.runs[-1]

    async def complete_rest(self) -> None:
        """Complete every run that is still to come, until cancelled.

        One that waited while the plugin was away may come behind the last of ours.
        """
        while True:
            await self.plugin.complete(await self.plugin.next_run(), "done")

    async def _send_batch(self, batch: Sequence[Drawn]) -> None:
        run: Frame | None = None
        for frame in batch:
            with suppress(*_LOST):
                run = run or await self._begin_run()
                await self._send(frame, run)
                self.sent += 1
                continue
            run = None
            await self._connect_again()
        with suppress(*_LOST):
            await self._end(run)

    async def _begin_run(self) -> Frame:
        run_id = await aside(self._host.send, "fuzz", self.plugin.name)
        self.runs.append(run_id)
        while True:
            run = await self._unless_closed(self.plugin.next_run)
            if run["data"]["context"]["run_id"] == run_id:
                return run
            # An earlier run waited for the plugin to come back.
            await self.plugin.complete(run, "done")

    async def _unless_closed(self, ask: Callable[[], Awaitable[T]]) -> T:
        asking = asyncio.ensure_future(ask())
        closed = asyncio.ensure_future(self.plugin.closed.wait())
        try:
            await asyncio.wait({asking, closed}, return_when="FIRST_COMPLETED")
            if not asking.done():
                message = "closed while waiting"
                raise ConnectionError(message)
            return await asking
        finally:
            asking.cancel()
            closed.cancel()

    async def _send(self, frame: Drawn, run: Frame) -> None:
        drawn = place(frame, run["data"]["context"]["run_id"], run["seq_id"])
        if isinstance(drawn, bytes):
            await self.plugin.socket.send(drawn, text=True)
        else:
            await self.plugin.send_text(drawn)

    async def _end(self, run: Frame | None) -> None:
        """End the run, if it has not ended, and wait until the host has read it all."""
        if run is not None:
            await self.plugin.complete(run, "done", sequence=2**31 - 1)
        with suppress(HostCallError):  # a fuzzed call may have had the number
            await self.plugin.call("__ping")
        self._count_answers()

    def _count_answers(self) -> None:
        answers, self.plugin.unmatched = self.plugin.unmatched, []
        for answer in answers:
            error = answer["data"].get("error", {})
            self.errors[error.get("code", "ok")] += 1

    async def _connect_again(self) -> None:
        await self.plugin.closed.wait()
        self.closes[self.plugin.socket.close_code] += 1
        await self.plugin.open_when_admitted()
        self.plugin.requests = asyncio.Queue()
        await self.plugin.handshake()


def errors_logged(host: RunningHost) -> list[str]:
    """Return the lines of the level error or worse in all logs of the host."""
    logs = host.processes.logs().values()
    return [line for log in logs for line in _ERROR_LINE.findall(log)]
