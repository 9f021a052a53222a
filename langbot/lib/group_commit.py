"""Group commit: short writes of many callers in one transaction."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.translation import get_language, override

from langbot.lib.db import DatabaseExecutor, with_fresh_connection

P = ParamSpec("P")
T = TypeVar("T")

_TOGETHER = 20  # writes of one transaction
_thread = threading.local()  # `has_group` while it does the writes of several callers


@dataclass(slots=True)
class _Write:
    """One caller's write, done in the caller's context and language."""

    place: tuple[str, ...]
    work: Callable[[], Any]
    outcome: "Future[Any]" = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)
    # Django takes what another thread has activated for none.
    language: str | None = field(default_factory=get_language)

    def do(self) -> Any:
        return self.context.run(self._do)

    def _do(self) -> Any:
        with override(self.language):
            return self.work()

    def do_alone(self) -> None:
        try:
            self.outcome.set_result(with_fresh_connection(self.do))
        except Exception as error:  # noqa: BLE001  whoever waits for it gets it
            self.outcome.set_exception(error)


class GroupCommit:
    """Commits together what arrives while an earlier transaction commits.

    A commit costs more than a short write, and SQLite's writers wait for each other
    polling. One that fails rolls all of its transaction back, and each is done again
    alone: for writes that are an `own_transaction` and have no effect beside it.
    Thread-safe; the thread that writes is its own.
    """

    def __init__(self, name: str) -> None:
        self._executor = DatabaseExecutor(name, 1)
        self._lock = threading.Lock()
        self._waiting: list[_Write] = []

    def submit(
        self,
        place: tuple[str, ...],
        work: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "Future[T]":
        """Return what becomes the result of `work` once it is committed, or its error.

        `place` names the row that other transactions may want, too: all take such rows
        in its order, so that no two wait for each other.
        """
        write = _Write(place, partial(work, *args, **kwargs))
        with self._lock:
            self._waiting.append(write)
        self._executor.submit(self._commit)
        return write.outcome

    def _commit(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
        writes = [one for one in taken if one.outcome.set_running_or_notify_cancel()]
        writes.sort(key=lambda write: write.place)
        if len(writes) > 1 and _commit_all(writes):
            return
        for write in writes:
            write.do_alone()

    def shutdown(self) -> None:
        """Let what is under way end, drop the thread and close its connection."""
        self._executor.shutdown()


def _commit_all(writes: Sequence[_Write]) -> bool:
    """Do them in one transaction; False when one is refused, and nothing is done."""
    try:
        results = with_fresh_connection(_in_one_transaction, writes)
    except (OperationalError, InterfaceError) as error:
        # The database is locked or away: each would wait for that as long again.
        for write in writes:
            write.outcome.set_exception(error)
    except Exception:  # noqa: BLE001  whose it was shows when each is done alone
        return False
    else:
        for write, result in zip(writes, results, strict=True):
            write.outcome.set_result(result)
    return True


@transaction.atomic
def _in_one_transaction(writes: Sequence[_Write]) -> list[Any]:
    _thread.has_group = True
    try:
        return [write.do() for write in writes]
    finally:
        _thread.has_group = False


@contextmanager
def own_transaction() -> Iterator[None]:
    """Be `transaction.atomic`, without a savepoint in a group.

    What fails there is done again anyway, and a savepoint costs as much as a commit.
    """
    with transaction.atomic(savepoint=not getattr(_thread, "has_group", False)):
        yield


class WritingExecutor(DatabaseExecutor):
    """An executor that also commits short writes together, on a thread of their own.

    So what waits for SQLite's write lock keeps nobody from reading.
    """

    def __init__(self, name: str, threads: int | None = None) -> None:
        super().__init__(name, threads)
        self._group = GroupCommit(f"{name}-writer")

    async def together(
        self,
        place: tuple[str, ...],
        work: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do a write as `GroupCommit.submit` does, and return what it returns."""
        return await asyncio.wrap_future(
            self._group.submit(place, work, *args, **kwargs)
        )

    def shutdown(self) -> None:
        """Let running calls end, drop all threads and close their connections."""
        super().shutdown()
        self._group.shutdown()


_of_process = GroupCommit("writer")


def committed_together(work: Callable[P, T]) -> Callable[P, T]:
    """Make a function a transaction: on SQLite one with those of other threads.

    PostgreSQL's writers do not wait for each other. Within a transaction of its caller
    it is a part of that.
    """
    transacted = own_transaction()(work)

    @wraps(work)
    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.vendor != "sqlite" or connection.in_atomic_block:
            return transacted(*args, **kwargs)
        return _of_process.submit((), transacted, *args, **kwargs).result()

    return do
