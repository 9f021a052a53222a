"""Runs ORM code of an asyncio loop on a few threads of its own.

Django's `sync_to_async` has one shared thread: ten 50 ms queries took 0.51 s there.
SQLite gets two readers beside the threads that write, PostgreSQL four threads.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)

P = ParamSpec("P")
T = TypeVar("T")

# Django derives InterfaceError (a closed connection) from neither of its siblings.
DATABASE_FAILURES = (DatabaseError, InterfaceError)
SQLITE_READERS = 2
POSTGRES_THREADS = 4


_executors: "WeakSet[DatabaseExecutor]" = WeakSet()


def shutdown_all() -> None:
    """Shut down every executor of this process, such as before a database is dropped.

    None of them may be in use.
    """
    for executor in list(_executors):
        executor.shutdown()


class DatabaseExecutor:
    """A small thread pool whose threads keep a database connection each."""

    def __init__(self, name: str, threads: int | None = None) -> None:
        self._name = name
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._connections: list[Any] = []
        self._beginning = threading.Lock()
        _executors.add(self)

    async def __call__(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function` on a pool thread; a broken connection is replaced first."""
        work = partial(with_fresh_connection, function, *args, **kwargs)
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Run `work` on a pool thread; for callers without a loop."""
        with self._beginning:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._size(), self._name, self._begin)
            return self._pool.submit(work)

    def shutdown(self) -> None:
        """Let running calls end, drop the threads and close their connections.

        Another call begins with new ones.
        """
        with self._beginning:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)
        # A thread that just ends leaves its session open, and its place in the pool.
        ended, self._connections = self._connections, []
        closer = threading.Thread(target=_close, args=(ended,))  # we may be on a loop
        closer.start()
        closer.join()

    def _begin(self) -> None:
        self._connections.append(connections[DEFAULT_DB_ALIAS])

    def _size(self) -> int:
        if self._threads is not None:
            return self._threads
        return SQLITE_READERS if connection.vendor == "sqlite" else POSTGRES_THREADS


def _close(ended: list[Any]) -> None:
    for one in ended:
        one.inc_thread_sharing()
        one.close()


def with_fresh_connection(
    function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function`; after a lost connection drop it, so that the next call works.

    Connections are kept between calls: opening one costs more than most queries.
    """
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        if not connection.in_atomic_block:
            connection.close()
        raise
