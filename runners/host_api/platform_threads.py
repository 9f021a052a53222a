"""Threads for actions on platforms, apart from those that the host itself needs.

Looking up names and making clients use the loop's own few threads: adapters that hang
there would stop every model call. Nothing ends a thread that hangs, so that what it
takes is counted until it is back, however soon its caller gave up.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Any, Final

from runners.protocol.errors import ErrorCode, ProtocolError

THREADS: Final = 32  # what asyncio gives blocking work at most, for a worker
PER_BOT: Final = 8  # it takes four whose platform hangs to stop the others


class ActionThreads:
    """Runs blocking actions; refuses at once what would have to wait for a thread."""

    def __init__(self, threads: int = THREADS, per_bot: int = PER_BOT) -> None:
        self._threads, self._per_bot = threads, per_bot
        self._pool = ThreadPoolExecutor(threads, "platform-action")
        self._busy: Counter[Hashable] = Counter()
        self._lock = Lock()  # threads give back what a loop took

    def start(self, bot: Hashable, action: Callable[[], Any]) -> asyncio.Future[Any]:
        """Begin an action; raises ProtocolError `rate_limited`, and nothing was done.

        Call it on a loop. Cancelling the future does not stop the action.
        """
        self._take(bot)
        running = self._pool.submit(copy_context().run, action)
        running.add_done_callback(lambda _: self._give_back(bot))
        return asyncio.wrap_future(running)

    def _take(self, bot: Hashable) -> None:
        with self._lock:
            is_full = self._busy.total() >= self._threads
            if is_full or self._busy[bot] >= self._per_bot:
                message = "too many actions of bots wait for their platforms"
                code = ErrorCode.RATE_LIMITED
                raise ProtocolError(code, message, retryable=True)
            self._busy[bot] += 1

    def _give_back(self, bot: Hashable) -> None:
        with self._lock:
            self._busy[bot] -= 1
            if not self._busy[bot]:
                del self._busy[bot]


threads = ActionThreads()
