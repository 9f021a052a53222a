"""A run's ledger as people read it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from langbot.lib.admin import BAD, BUSY, CALM, GOOD, WARN
from langbot.lib.redaction import redact
from runners.choices import EventType
from runners.models import AgentRun, RunEvent

PAGE = 500  # rows read at once; a longer ledger has a link to the next ones
_DELTAS = frozenset({EventType.MESSAGE_DELTA, EventType.REASONING_DELTA})
_TONES: dict[str, str] = {
    EventType.WARNING: WARN,
    EventType.RUN_FAILED: BAD,
    EventType.RUN_COMPLETED: GOOD,
    EventType.RUN_STARTED: BUSY,
    EventType.RUN_ADOPTED: WARN,
    EventType.ACTION_REQUESTED: WARN,
    EventType.STEERING_DROPPED: WARN,
}
_LONGEST = 20_000  # characters of one row


@dataclass(slots=True)
class Row:
    """One line of the timeline; consecutive deltas share one."""

    first: int
    last: int
    type: str
    offset: str
    text: str
    detail: str = ""

    @property
    def tone(self) -> str:
        return _TONES.get(self.type, CALM)


@dataclass(slots=True)
class Timeline:
    """A page of rows; `after` is where the next one begins."""

    rows: list[Row]
    after: int
    has_more: bool


def timeline_of(run: AgentRun, after: int = 0) -> Timeline:
    """Return what happened in a run after a sequence number; one query."""
    events = list(
        RunEvent.objects.filter(run=run, seq__gt=after)
        .order_by("seq")
        .only("seq", "type", "data", "created_at")[: PAGE + 1]
    )
    shown = events[:PAGE]
    last = shown[-1].seq if shown else after
    start = run.queued_at or run.created_at
    return Timeline(_merged(shown, start), last, len(events) > PAGE)


def _merged(events: Iterable[RunEvent], start: datetime) -> list[Row]:
    rows: list[Row] = []
    for event in events:
        row = _row(event, start)
        if rows and row.type in _DELTAS and rows[-1].type == row.type:
            rows[-1].last = row.last
            rows[-1].text = (rows[-1].text + row.text)[:_LONGEST]
        else:
            rows.append(row)
    return rows


def _row(event: RunEvent, start: datetime) -> Row:
    data = event.data if isinstance(event.data, dict) else {}
    detail = ""
    if data and event.type not in _DELTAS:
        detail = json.dumps(redact(data), indent=2, ensure_ascii=False)[:_LONGEST]
    return Row(
        first=event.seq,
        last=event.seq,
        type=event.type,
        offset=f"+{max((event.created_at - start).total_seconds(), 0):.3f} s",
        text=_describe(event.type, data)[:_LONGEST],
        detail=detail,
    )


def _describe(kind: str, data: dict[str, Any]) -> str:
    describe = _WORDS.get(kind, _plain)
    return describe(data)


def _delta(data: dict[str, Any]) -> str:
    return str(data.get("text") or "")


def _message(data: dict[str, Any]) -> str:
    return message_text(data.get("message")) or _delta(data)


def _tool_call(data: dict[str, Any]) -> str:
    return f"{data.get('tool_name')} {_short(data.get('parameters'))}"


def _tool_answer(data: dict[str, Any]) -> str:
    return f"{data.get('tool_name')}: {data.get('error') or _short(data.get('result'))}"


def _state(data: dict[str, Any]) -> str:
    return f"{data.get('scope')} / {data.get('key')}"


def _adopted(_data: dict[str, Any]) -> str:
    return _("Another worker carries the run on.")


def _plain(data: dict[str, Any]) -> str:
    """Return the words of an event: its code and what it says."""
    parts = [data.get("code"), data.get("level")]
    words = [data.get(name) for name in ("error", "message", "text", "reason", "name")]
    said = [str(word) for word in [*parts, *words] if isinstance(word, str) and word]
    return ": ".join(said)


def message_text(message: Any) -> str:
    """Return the text of a message whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _short(value: Any) -> str:
    return json.dumps(redact(value), ensure_ascii=False)[:500] if value else ""


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    EventType.MESSAGE_DELTA: _delta,
    EventType.REASONING_DELTA: _delta,
    EventType.MESSAGE_COMPLETED: _message,
    EventType.RUN_COMPLETED: _message,
    EventType.TOOL_CALL_STARTED: _tool_call,
    EventType.TOOL_CALL_COMPLETED: _tool_answer,
    EventType.STATE_UPDATED: _state,
    EventType.RUN_ADOPTED: _adopted,
}
