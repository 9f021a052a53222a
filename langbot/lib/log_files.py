"""A log file per local day. Standard library only: the supervisor writes one too."""

import datetime
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 10 * 2**20  # LB-175
BACKUPS = 5  # LB-175


class DailyFile:
    """Appends lines to `<name>-YYYY-MM-DD.log` of the local day (LB-175).

    Past `max_bytes` the file becomes `.1`, an older `.1` becomes `.2`, and so on. Any
    number of processes may write to one directory: a line is one append, and who
    rotates holds a lock. The directory is made at the first line.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str = "langbot",
        *,
        max_bytes: int = MAX_BYTES,
        backups: int = BACKUPS,
    ) -> None:
        self.directory = Path(directory)
        self.name = name
        self.max_bytes = max_bytes
        self.backups = backups
        self._path = Path()
        self._descriptor = -1

    def write(self, line: bytes) -> None:
        """Append a line that ends with its newline; raises OSError."""
        self._follow_day()
        if self._is_stale(len(line)):
            self._rotate(len(line))
        os.write(self._descriptor, line)

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._close()
        self._path = Path()

    def _follow_day(self) -> None:
        today = datetime.date.today()  # noqa: DTZ011 - LB-175 names files by local day
        path = self.directory / f"{self.name}-{today:%Y-%m-%d}.log"
        if path != self._path:
            self._path = path
            self._open()

    def _is_stale(self, added: int) -> bool:
        """Say whether the file is full, or was moved away by another process."""
        try:
            on_disk = self._path.stat()
        except FileNotFoundError:
            return True
        mine = os.fstat(self._descriptor)
        is_full = mine.st_size > 0 and mine.st_size + added > self.max_bytes
        return is_full or not os.path.samestat(on_disk, mine)

    def _rotate(self, added: int) -> None:
        with (self.directory / f"{self.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._open()  # another process may have rotated meanwhile
            if self._is_stale(added):
                for number in range(self.backups, 0, -1):
                    older = self._path.with_name(f"{self._path.name}.{number}")
                    newer = older.with_suffix(f".{number - 1}")
                    source = newer if number > 1 else self._path
                    if source.exists():
                        source.replace(older)
                self._open()

    def _open(self) -> None:
        self._close()
        self.directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def remove_old(directory: Path, seconds: float) -> int:
    """Remove log files that nobody wrote for so long; returns how many went."""
    removed = 0
    for path in directory.glob("*.log*"):
        with suppress(FileNotFoundError):  # another process was faster
            if path.lstat().st_mtime < time.time() - seconds:
                path.unlink()
                removed += 1
    return removed
