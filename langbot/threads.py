"""Runs each request's sync code in one piece, on a thread that is kept.

Django under ASGI makes a thread for each request, each new thread opens a database
connection, and an async core under sync middleware hops between threads several
times. Here a request borrows a kept thread once; none is ever refused.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

KEPT_THREADS = 16


class ThreadedStream(StreamingHttpResponse):
    """Sends parts that sync code makes, each on the request's thread.

    They are not made on the event loop, and one after the other, so they may go on with
    what is open on the thread's database connection.
    """

    def __init__(self, parts: Iterator[Any], **options: Any) -> None:
        super().__init__(_without_blocking(parts), **options)


async def _without_blocking(parts: Iterator[Any]) -> AsyncIterator[Any]:
    following = sync_to_async(lambda: next(parts, None))
    while (part := await following()) is not None:
        yield part


class _Loan(Executor):
    """Runs the sync code of one request on the thread that it borrowed."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._is_open = True
        self._under_way: list[Future[Any]] = []
        self.aborted: RequestAborted | None = None  # how the client's leaving was told

    @property
    def is_busy(self) -> bool:
        """Whether something still runs, of a request that was cancelled."""
        return not all(one.done() for one in self._under_way)

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run on the borrowed thread, or on the one that came in its place."""
        begun = self._thread.submit(function, *args, **kwargs)
        self._under_way = [one for one in self._under_way if not one.done()] + [begun]
        return begun

    def end(self, instead: ThreadPoolExecutor) -> ThreadPoolExecutor | None:
        """Return the borrowed thread, once; what comes later runs on `instead`."""
        if not self._is_open:
            return None
        self._is_open = False
        borrowed, self._thread = self._thread, instead
        return borrowed


_loan: ContextVar[_Loan] = ContextVar("loan")


class ThreadedHandler(ASGIHandler):
    """Django's handler with a sync middleware chain; used from one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)
        self._idle: list[ThreadPoolExecutor] = []
        self._ends_of_streams = ThreadPoolExecutor(1, "request-end")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request with its sync code on one borrowed thread."""
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, "request")
        loan = _Loan(thread)
        _loan.set(loan)
        try:
            # Django enters a context of its own only where none is entered yet.
            async with ThreadSensitiveContext(executor=loan):
                await super().__call__(scope, receive, send)
        finally:
            self._give_back(loan)
            if loan.aborted is not None:
                # Django's frame holds the task, that the exception, that the frame:
                # whole requests, 50 MB of them, until the next collection.
                loan.aborted.__traceback__ = None

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Raise RequestAborted when the client leaves."""
        try:
            await super().listen_for_disconnect(receive)
        except RequestAborted as aborted:
            _loan.get().aborted = aborted
            raise

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Run middleware and view together on the request's thread.

        Who streams from the event loop does not keep it: all that is left to run is
        the end of the response, and one thread does that for all streams.
        """
        response = await sync_to_async(self.get_response)(request)
        streams = response.streaming and getattr(response, "is_async", False)
        if streams and not isinstance(response, ThreadedStream):
            self._give_back(_loan.get())
        return response

    def _give_back(self, loan: _Loan) -> None:
        is_busy, thread = loan.is_busy, loan.end(self._ends_of_streams)
        if thread is None:
            return
        if len(self._idle) < KEPT_THREADS and not is_busy:
            self._idle.append(thread)
        else:
            thread.submit(connections.close_all)  # no request follows that would do it
            # Left to the garbage collector, hundreds wait for a collection.
            thread.shutdown(wait=False)
