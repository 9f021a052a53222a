"""Runs each request's sync code in one piece, on a thread that is kept.

Django under ASGI makes a thread for each request, each new thread opens a database
connection, and an async core under sync middleware hops between threads several
times. Here a request borrows a kept thread once; none is ever refused.
"""

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

KEPT_THREADS = 16


class _Loan:
    """The thread of one request, until its sync code has been run."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.executor = executor
        self.is_open = True


_loan: ContextVar[_Loan] = ContextVar("loan")


class ThreadedHandler(ASGIHandler):
    """Django's handler with a sync middleware chain; used from one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)
        self._idle: list[ThreadPoolExecutor] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request with its sync code on one borrowed thread."""
        executor = self._idle.pop() if self._idle else ThreadPoolExecutor(1, "request")
        loan = _Loan(executor)
        _loan.set(loan)
        try:
            # Django enters a context of its own only where none is entered yet.
            async with ThreadSensitiveContext(executor=executor):
                await super().__call__(scope, receive, send)
        finally:
            self._give_back(loan)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Run middleware and view together on the request's thread.

        Who streams does not keep it: its end waits for a moment of whoever has it.
        """
        response = await sync_to_async(self.get_response)(request)
        if response.streaming:
            self._give_back(_loan.get())
        return response

    def _give_back(self, loan: _Loan) -> None:
        if not loan.is_open:
            return
        loan.is_open = False
        # The thread of one that is not kept ends when nobody refers to it any more.
        if len(self._idle) < KEPT_THREADS:
            self._idle.append(loan.executor)
