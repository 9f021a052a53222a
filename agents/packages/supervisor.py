"""Runs the packages of this machine: builds them, starts them, keeps them running.

One per data folder, one thread. Rows say what is wanted, so a supervisor that is
killed loses nothing: its processes die with it, and the next one first ends whatever
they have left behind.
"""

import contextlib
import fcntl
import hashlib
import logging
import selectors
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.db import Error as DatabaseFailure
from django.db import close_old_connections

from agents.packages import progress
from agents.packages.builder import Builder
from agents.packages.guard_processes import end_marked
from agents.packages.keeper import Keeper, Surroundings
from agents.packages.places import NEEDED_FILE, packages_root
from agents.packages.processes import GuardedProcess

logger = logging.getLogger(__name__)

ROUND_SECONDS: Final = 0.5  # between two looks at the rows


class AlreadyRunningError(RuntimeError):
    """Another process runs the packages of this data folder."""


class PackageSupervisor:
    """Follows the rows until told to stop."""

    def __init__(self, url: str) -> None:
        self.root = packages_root()
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()
        self._around = Surroundings(digest[:16], url, selectors.DefaultSelector())
        self._builder = Builder(self._around)
        self._keepers: dict[int, Keeper] = {}
        self._is_stopping = False

    def stop(self, *_: object) -> None:
        """End after this round; a signal handler."""
        self._is_stopping = True

    def run(self, *, while_needed: bool = False) -> None:
        """Run packages until `stop`; with `while_needed`, until none is left.

        Raises AlreadyRunningError.
        """
        with _locked(self.root / "lock"):
            end_marked(self._around.marker())
            progress.requeue_builds()
            try:
                while not self._is_stopping:
                    self._round()
                    if while_needed and self._is_idle():
                        return
            finally:
                self._end_all()

    def _round(self) -> None:
        try:
            self._follow()
        except DatabaseFailure as error:
            logger.warning("packages: %s", error)
            close_old_connections()
        deadline = time.monotonic() + ROUND_SECONDS
        while (left := deadline - time.monotonic()) > 0 and not self._is_stopping:
            self._read(left)

    def _follow(self) -> None:
        rows = {row.pk: row for row in progress.processes()}
        for key, row in rows.items():
            keeper = self._keepers.setdefault(key, Keeper(self._around))
            with _going_on(row.plugin.name):
                keeper.follow(row)
        for key in self._keepers.keys() - rows.keys():
            with _going_on(f"of row {key}"):  # which was deleted under it
                if self._keepers[key].stop():
                    del self._keepers[key]
        with _going_on("that is built"):
            self._builder.follow()

    def _read(self, seconds: float) -> None:
        ready = self._around.selector.select(seconds)
        for key, _events in ready:
            child: GuardedProcess = key.data
            child.read()

    def _is_idle(self) -> bool:
        """Whether nothing is installed; what asks meanwhile finds the file missing."""
        if self._keepers or self._builder.is_busy or progress.processes().exists():
            return False
        needed = self.root / NEEDED_FILE
        needed.unlink(missing_ok=True)
        if progress.processes().exists():
            needed.touch(mode=0o600)
            return False
        return True

    def _end_all(self) -> None:
        keepers = list(self._keepers.values())
        while not all([self._builder.stop(), *(one.stop() for one in keepers)]):
            self._read(0.05)


@contextlib.contextmanager
def _going_on(package: str) -> Iterator[None]:
    """Log what fails: one package must not stop the others; a lost database does."""
    try:
        yield
    except DatabaseFailure:
        raise
    except Exception:
        logger.exception("package %s", package)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another process runs the packages of this data folder"
            raise AlreadyRunningError(message) from None
        yield
