"""Keeps the threads that run Django's sync code, and with them their connections.

Django under ASGI makes a thread for each request, and each new thread opens a
database connection. Here a request borrows a kept thread; none is ever refused.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext

KEPT_THREADS = 16


class KeptThreads:
    """ASGI middleware around Django; used from one event loop."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._idle: list[ThreadPoolExecutor] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request with its sync code on one borrowed thread."""
        executor = self._idle.pop() if self._idle else ThreadPoolExecutor(1, "request")
        try:
            async with ThreadSensitiveContext(executor=executor):
                await self._application(scope, receive, send)
        finally:
            self._give_back(executor)

    def _give_back(self, executor: ThreadPoolExecutor) -> None:
        if len(self._idle) < KEPT_THREADS:
            self._idle.append(executor)
        else:
            executor.shutdown(wait=False)
