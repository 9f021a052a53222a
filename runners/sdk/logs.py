"""Log lines as the host's other processes write them, by the standard library alone."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """A traceback stays inside its line; `extra` fields become fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "event": record.getMessage(),
            **_extra(record),
            "timestamp": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str).decode()


class ConsoleFormatter(logging.Formatter):
    """For the eye: a traceback follows its line; `extra` fields end it."""

    def format(self, record: logging.LogRecord) -> str:
        level, event = record.levelname.lower(), record.getMessage()
        line = f"{_time(record)} [{level:<9}] {event:<30} [{record.name}]"
        line += "".join(f" {name}={item}" for name, item in _extra(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(level: str, *, json: bool = False) -> None:
    """Send every log line of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Every reconnect attempt is told by us, with its plugin, once.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)


def _time(record: logging.LogRecord) -> str:
    created = datetime.fromtimestamp(record.created, UTC)
    return created.isoformat().replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: item for name, item in vars(record).items() if name not in _OWN}
