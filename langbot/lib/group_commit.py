"""Group commit: short writes of many callers in one transaction."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from copy import copy
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.translation import get_language, override

from langbot.lib.db import DatabaseExecutor, with_fresh_connection

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_TOGETHER = 20  # writes of one transaction
# A database that is locked or away, and not one write that it refuses.
_AWAY = (OperationalError, InterfaceError)
# `has_group` while it does the writes of several callers, `writes` for good.
_thread = threading.local()


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

    def do_alone(self) -> BaseException | None:
        """Do it and tell its caller; returns what it raised."""
        try:
            self.outcome.set_result(with_fresh_connection(self.do))
        except BaseException as error:  # noqa: BLE001  whoever waits for it gets it
            self.outcome.set_exception(error)
            return error
        return None


class GroupCommit:
    """Commits together what arrives while an earlier transaction commits.

    A commit costs more than a short write, and SQLite's writers wait for each other
    polling. One that is refused rolls all of its transaction back, and each is done
    again alone: for writes that are an `own_transaction` and have no effect beside it.
    While the database is away or locked, all that wait for it get its error. A write
    whose caller has left is dropped, unless it is under way. Thread-safe; the thread
    that writes, and runs what is to follow a commit, is its own.
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
        try:
            self._executor.submit(self._commit)
        except BaseException:
            write.outcome.cancel()  # its caller is told that it is not done
            raise
        return write.outcome

    def _commit(self) -> None:
        _thread.writes = True
        with self._lock:
            taken, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            behind = len(self._waiting)
        writes = [one for one in taken if one.outcome.set_running_or_notify_cancel()]
        writes.sort(key=lambda write: write.place)
        error = _commit_all(writes)
        if error is not None:
            self._fail(behind, error)

    def _fail(self, count: int, error: BaseException) -> None:
        """Tell those who wait behind, who have waited as long for the same lock."""
        with self._lock:
            left, self._waiting = self._waiting[:count], self._waiting[count:]
        _fail_all(
            [one for one in left if one.outcome.set_running_or_notify_cancel()], error
        )

    def shutdown(self) -> None:
        """Let what is under way end, drop the thread and close its connection."""
        self._executor.shutdown()


class _Group:
    """Writes that are done in one transaction."""

    def __init__(self, writes: Sequence[_Write]) -> None:
        self._writes = writes
        self._results: list[Any] = []
        self.has_begun = self.is_committed = False

    @transaction.atomic
    def do(self) -> None:
        """Do all of them; raises what one of them raises."""
        transaction.on_commit(self._note_commit, robust=True)
        _thread.has_group = True
        try:
            for write in self._writes:
                self._results.append(write.do())
                self.has_begun = True
        finally:
            _thread.has_group = False
        if transaction.get_rollback():
            message = "a write kept its failure to itself"
            raise ValueError(message)

    def _note_commit(self) -> None:
        self.is_committed = True

    def tell(self) -> None:
        """Give each caller its result."""
        for write, result in zip(self._writes, self._results, strict=True):
            write.outcome.set_result(result)


def _commit_all(writes: Sequence[_Write]) -> BaseException | None:
    """Do all writes and tell their callers; returns why the database takes none."""
    if len(writes) < 2:  # noqa: PLR2004  a group
        return _each_alone(writes)
    group = _Group(writes)
    try:
        with_fresh_connection(group.do)
    except BaseException as error:
        if not group.is_committed:
            if isinstance(error, _AWAY) and not group.has_begun:
                return _fail_all(writes, error)
            return _each_alone(writes)  # whose fault it was shows there
        logger.exception("what follows a commit failed")
    group.tell()
    return None


def _each_alone(writes: Sequence[_Write]) -> BaseException | None:
    for number, write in enumerate(writes, 1):
        error = write.do_alone()
        if isinstance(error, _AWAY) and len(writes) > 1:
            return _fail_all(writes[number:], error)
    return None


def _fail_all(writes: Sequence[_Write], error: BaseException) -> BaseException:
    for write in writes:  # each its own: callers add to its traceback
        write.outcome.set_exception(copy(error))
    return error


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


_of_process: GroupCommit | None = GroupCommit("writer")


def _begin_anew() -> None:
    global _of_process  # noqa: PLW0603  a child has no thread of its parent
    _of_process = GroupCommit("writer")


os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def each_thread_alone() -> Iterator[None]:
    """Have no groups: so what follows a commit is done by the thread that asked."""
    global _of_process  # noqa: PLW0603  of all threads
    before, _of_process = _of_process, None
    try:
        yield
    finally:
        _of_process = before


def committed_together(work: Callable[P, T]) -> Callable[P, T]:
    """Make a function a transaction: on SQLite one with those of other threads.

    PostgreSQL's writers do not wait for each other. Within a transaction of its caller
    it is a part of that.
    """
    transacted = own_transaction()(work)

    @wraps(work)
    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        group = _of_process
        if group is None or connection.vendor != "sqlite" or _is_transaction():
            return transacted(*args, **kwargs)
        return group.submit((), transacted, *args, **kwargs).result()

    return do


def _is_transaction() -> bool:
    """Whether the thread is in a transaction, or in what follows one of a group."""
    if getattr(_thread, "writes", False):
        return True
    return connection.in_atomic_block or not connection.get_autocommit()
