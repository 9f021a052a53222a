"""Logging: structlog for everything, JSON or console, and a file per local day."""

import datetime
import fcntl
import logging
import os
import sys
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from langbot.lib.redaction import redact_secrets

MAX_BYTES = 10 * 2**20  # LB-175
BACKUPS = 5  # LB-175
# Libraries that report each step at INFO.
QUIET = ("daphne", "httpcore2", "httpx2", "asyncio", "celery.worker.strategy")


def redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Hide the values of secret-looking keys of a log event, at any depth."""
    own = {key for key in event if key[0] == "_" or key == "exc_info"}
    event.update(redact_secrets({k: v for k, v in event.items() if k not in own}))
    return event


def add_record_time(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Stamp a record of the standard library alike for every handler."""
    created = datetime.datetime.fromtimestamp(event["_record"].created, datetime.UTC)
    event["timestamp"] = created.isoformat().replace("+00:00", "Z")
    return event


class DailyFileHandler(logging.Handler):
    """Append to `langbot-YYYY-MM-DD.log` of the local day (LB-175).

    Past `max_bytes` the file becomes `.1`, an older `.1` becomes `.2`, and so on. Any
    number of processes may write to one directory: a record is one append, and who
    rotates holds a lock. The directory is made at the first record.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_bytes: int = MAX_BYTES,
        backups: int = BACKUPS,
    ) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.max_bytes = max_bytes
        self.backups = backups
        self._path = Path()
        self._descriptor = -1

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            self._follow_day()
            if self._is_stale(len(line)):
                self._rotate(len(line))
            os.write(self._descriptor, line)
        except (OSError, ValueError, TypeError, KeyError):
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._close_file()
        finally:
            self.release()
        super().close()

    def _follow_day(self) -> None:
        today = datetime.date.today()  # noqa: DTZ011 - LB-175 names files by local day
        path = self.directory / f"langbot-{today:%Y-%m-%d}.log"
        if path != self._path:
            self._path = path
            self._open_file()

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
        with (self.directory / "langbot.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._open_file()  # another process may have rotated meanwhile
            if self._is_stale(added):
                for number in range(self.backups, 0, -1):
                    older = self._path.with_name(f"{self._path.name}.{number}")
                    newer = older.with_suffix(f".{number - 1}")
                    source = newer if number > 1 else self._path
                    if source.exists():
                        source.replace(older)
                self._open_file()

    def _open_file(self) -> None:
        self._close_file()
        self.directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.StackInfoRenderer(),
        redact_event,
    ]


def _formatter(*renderers: Processor) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [add_record_time, *_shared_processors()],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *renderers,
        ],
    }


def _json_formatter() -> dict[str, Any]:
    # format_exc_info writes the plain traceback: never locals, which hold secrets.
    return _formatter(
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    )


def _console_formatter() -> dict[str, Any]:
    return _formatter(
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    )


def configure_structlog() -> None:
    """Send structlog's loggers through the standard library's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def logging_config(
    *,
    level: str,
    json: bool,
    directory: str | Path | None,
) -> dict[str, Any]:
    """Configure structlog and return Django's `LOGGING`.

    Everything goes to stderr (JSON lines or for the eye) and, as JSON lines, to a file
    per day in `directory` (None: no files). Request, run and task ids that are bound by
    `structlog.contextvars` are part of every line.
    """
    configure_structlog()
    handlers: dict[str, Any] = {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json" if json else "console",
        }
    }
    if directory is not None:
        handlers["file"] = {
            "()": DailyFileHandler,
            "directory": directory,
            "formatter": "json",
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": _json_formatter(), "console": _console_formatter()},
        "handlers": handlers,
        "root": {"level": level.upper(), "handlers": list(handlers)},
        "loggers": {name: {"level": "WARNING"} for name in QUIET},
    }
