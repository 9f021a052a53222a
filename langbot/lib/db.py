"""Runs ORM code of an asyncio loop on a few threads of its own.

Django's `sync_to_async` has one shared thread: ten 50 ms queries took 0.51 s there.
SQLite gets two readers beside the ledger's writer, PostgreSQL four threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

P = ParamSpec("P")
T = TypeVar("T")

# Django derives InterfaceError (a closed connection) from neither of its siblings.
DATABASE_FAILURES = (DatabaseError, InterfaceError)
SQLITE_READERS = 2
POSTGRES_THREADS = 4


class DatabaseExecutor:
    """A small thread pool whose threads keep a database connection each."""

    def __init__(self, name: str, threads: int | None = None) -> None:
        self._name = name
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function` on a pool thread; a broken connection is replaced first."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._size(), self._name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, lambda: with_fresh_connection(function, *args, **kwargs)
        )

    def shutdown(self) -> None:
        """Let running calls end and drop the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _size(self) -> int:
        if self._threads is not None:
            return self._threads
        return SQLITE_READERS if connection.vendor == "sqlite" else POSTGRES_THREADS


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
