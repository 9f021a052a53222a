"""Logging: structlog for everything, JSON or console, and a file per local day."""

import datetime
import logging
import sys
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from langbot.lib.log_files import DailyFile
from langbot.lib.redaction import redact_secrets

# Libraries that report each step at INFO.
QUIET = (
    "daphne",
    "httpcore2",
    "httpx2",
    "asyncio",
    "celery.worker.strategy",
    "celery.app.trace",
)
# Answers 4xx are the callers' mistakes, counted by /metrics: no warning to us.
ERRORS_ONLY = ("django.request",)


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
    """Writes records to a `DailyFile`."""

    def __init__(self, directory: str | Path) -> None:
        super().__init__()
        self._file = DailyFile(directory)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
            self._file.write(line + b"\n")
        except (OSError, ValueError, TypeError, KeyError):
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._file.close()
        finally:
            self.release()
        super().close()


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


def _handlers(*, json: bool, directory: str | Path | None) -> dict[str, Any]:
    console = {
        "class": "logging.StreamHandler",
        "formatter": "json" if json else "console",
    }
    if directory is None:
        return {"console": console}
    file = {"()": DailyFileHandler, "directory": directory, "formatter": "json"}
    return {"console": console, "file": file}


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
    handlers = _handlers(json=json, directory=directory)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": _json_formatter(), "console": _console_formatter()},
        "handlers": handlers,
        "root": {"level": level.upper(), "handlers": list(handlers)},
        "loggers": {
            **{name: {"level": "WARNING"} for name in QUIET},
            **{name: {"level": "ERROR"} for name in ERRORS_ONLY},
        },
    }
