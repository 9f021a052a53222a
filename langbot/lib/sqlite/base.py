"""Asks for a lock once a millisecond, where SQLite asks ever more seldom."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from django.db.backends.sqlite3 import base

# SQLite's own pauses grow to 0.1 s. A transaction here takes some milliseconds, so its
# lock was free for a third of the time while 128 runs waited for it.
_PAUSE_SECONDS = 0.001
_SQLITE_SECONDS = 5.0  # Python's own, where the settings say nothing
# Another process writes, or recovers the log. Not what waiting does not mend: a read
# that is too old to become a write (SQLITE_BUSY_SNAPSHOT).
_WAITS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY})


class DatabaseWrapper(base.DatabaseWrapper):
    """Goes on as soon as no other process writes; `timeout` is as in Django."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """Return a connection whose cursors do the waiting."""
        session: sqlite3.Connection = super().get_new_connection(conn_params)
        session.execute("PRAGMA busy_timeout = 0")
        return session

    def create_cursor(self, name: str | None = None) -> "PatientCursor":
        """Return a cursor that waits for the lock."""
        cursor: PatientCursor = self.connection.cursor(factory=PatientCursor)
        cursor.seconds = self.settings_dict["OPTIONS"].get("timeout", _SQLITE_SECONDS)
        return cursor


class PatientCursor(base.SQLiteCursorWrapper):
    """Waits up to `seconds` for a lock, then raises as SQLite does."""

    seconds = _SQLITE_SECONDS

    def execute(self, query: str, params: Any = None) -> Any:
        """Execute a statement, BEGIN among them."""
        once = super().execute
        return self._patiently(lambda: once(query, params))

    def executemany(self, query: str, param_list: Any) -> Any:
        """Execute a statement for many rows of parameters."""
        once = super().executemany
        rows = list(param_list)  # which may be an iterator
        return self._patiently(lambda: once(query, rows))

    def _patiently(self, execute: Callable[[], Any]) -> Any:
        deadline = 0.0
        while True:
            try:
                return execute()
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                deadline = deadline or now + self.seconds
                if error.sqlite_errorcode not in _WAITS or now > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)
