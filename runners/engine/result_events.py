"""The events that a run's results become, within the bounds of one run."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from langbot.lib.conf import limits
from langbot.lib.redaction import redact
from runners.choices import EventType
from runners.engine.growing_text import GrowingText
from runners.ledger.fence import NewEvent
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.results import ParsedResult, ResultError, UnknownResultType

_WARNINGS_ALLOWED = 100


class ResultEvents(ABC):
    """What is to be written next, and how much of a run's bounds is used up."""

    def __init__(self) -> None:
        self._events: list[NewEvent] = []
        # The event that deltas are added to, and its text so far.
        self._open: tuple[NewEvent, GrowingText] | None = None
        self.first_output_at: datetime | None = None
        self._characters = 0
        self._bytes = 0  # of the data of all events
        self._warnings = 0

    @property
    def events(self) -> list[NewEvent]:
        """What is to be written next; whoever takes it sets a new list."""
        if self._open is not None:
            event, text = self._open
            event.data["text"] = str(text)
        return self._events

    @events.setter
    def events(self, events: list[NewEvent]) -> None:
        self._events, self._open = events, None

    @abstractmethod
    def fail(self, code: str, error: str) -> None:
        """End the run: it went over a bound."""

    def warn(self, code: str, detail: str, **more: Any) -> None:
        """Note something wrong in the ledger; too many of them end the run."""
        self._warnings += 1
        if self._warnings > _WARNINGS_ALLOWED:
            error = f"more than {_WARNINGS_ALLOWED} invalid results"
            self.fail(ErrorCode.RUNNER_PROTOCOL_ERROR, error)
            return
        self._add(
            EventType.WARNING, {"code": code, "detail": detail[:1000], **more}, None
        )

    def refuse_frame(self, error: ProtocolError) -> None:
        """Note a frame that cannot be read."""
        self.warn(error.code, error.message)

    def _warn_of(self, error: ResultError) -> None:
        kept = redact(error.data) if isinstance(error, UnknownResultType) else None
        self.warn(
            error.code,
            error.message,
            result_type=error.result_type[:100],
            **({"data": kept} if kept is not None else {}),
        )

    def _add(
        self, kind: EventType, data: dict[str, Any], result: ParsedResult | None
    ) -> None:
        if not self._spend(len(to_json(data))):
            return
        sequence = result.sequence if result is not None else None
        usage = result.usage if result is not None else None
        self.events.append(NewEvent(kind, data, sequence, usage))

    def _spend(self, size: int) -> bool:
        self._bytes += size
        most = limits().run_event_bytes
        if self._bytes > most:
            self.fail(ErrorCode.TOO_LARGE, f"a run's events hold at most {most} bytes")
        return self._bytes <= most

    def _has_room_for(self, text: str) -> bool:
        self._characters += len(text)
        most = limits().run_text_characters
        if self._characters > most:
            self.fail(ErrorCode.TOO_LARGE, f"a run says at most {most} characters")
        return self._characters <= most

    def _add_text(
        self,
        kind: EventType,
        text: str,
        sequence: int | None,
        usage: dict[str, Any] | None = None,
    ) -> None:
        # Consecutive deltas of one batch become one event, before seq is allocated.
        if not self._spend(len(text.encode())):
            return
        last = self._events[-1] if self._events else None
        if self._open is None or self._open[0] is not last or last.type != kind:
            last = NewEvent(kind, {"text": text}, sequence, usage)
            self.events.append(last)
            self._open = last, GrowingText(text)
        else:
            self._open[1].add(text)
            last.runner_sequence = sequence
        if self.first_output_at is None:
            self.first_output_at = datetime.now(UTC)
