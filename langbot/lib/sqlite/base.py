"""Asks for the write lock once a millisecond, where SQLite asks ever more seldom."""

import sqlite3
import time

from django.db import OperationalError
from django.db.backends.sqlite3 import base

# SQLite's own pauses grow to 0.1 s. A transaction here takes some milliseconds, so its
# lock was free for a third of the time while 128 runs waited for it.
_PAUSE_SECONDS = 0.001
_SQLITE_SECONDS = 5.0  # Python's own, where the settings say nothing


class DatabaseWrapper(base.DatabaseWrapper):
    """Begins as soon as no other process writes; `timeout` is as in Django.

    A statement outside a transaction waits as SQLite does.
    """

    def _start_transaction_under_autocommit(self) -> None:
        seconds = self.settings_dict["OPTIONS"].get("timeout", _SQLITE_SECONDS)
        deadline = time.monotonic() + seconds
        self._wait_at_most(0)
        try:
            while not self._has_begun(is_last=time.monotonic() > deadline):
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._wait_at_most(seconds)

    def _has_begun(self, *, is_last: bool) -> bool:
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # its stub lacks it
        except OperationalError as error:
            code = getattr(error.__cause__, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if is_last or code & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    def _wait_at_most(self, seconds: float) -> None:
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
