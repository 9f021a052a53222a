"""A run's ledger as people read it: its events, and its calls to the host between."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from langbot.lib.admin import BAD, BUSY, CALM, GOOD, WARN
from langbot.lib.redaction import redact
from runners.admin.wording import describe, label_of
from runners.choices import EventType, HostCallStatus
from runners.models import AgentRun, HostCall, RunEvent

PAGE = 500  # events read at once; a longer ledger has a link to the next ones
CALLS = 200  # host calls read with them
DELTAS = frozenset({EventType.MESSAGE_DELTA, EventType.REASONING_DELTA})
LONG = 600  # characters; a longer text is folded
_LONGEST = 20_000  # characters of one row
_USAGE: dict[str, Any] = {
    "prompt_tokens": _("prompt tokens"),
    "completion_tokens": _("completion tokens"),
    "total_tokens": _("tokens in all"),
    "estimated": _("estimated"),
    "cached_tokens": _("cached tokens"),
    "reasoning_tokens": _("reasoning tokens"),
    "model_calls": _("model calls"),
    "calls_without_cost": _("calls of unknown cost"),
}
_TONES: dict[str, str] = {
    EventType.WARNING: WARN,
    EventType.RUN_FAILED: BAD,
    EventType.RUN_COMPLETED: GOOD,
    EventType.RUN_STARTED: BUSY,
    EventType.RUN_ADOPTED: WARN,
    EventType.ACTION_REQUESTED: WARN,
    EventType.STEERING_DROPPED: WARN,
}


@dataclass(slots=True)
class Row:
    """One line of the timeline; consecutive deltas share one, a call has no number."""

    type: str
    at: datetime
    offset: str
    text: str
    first: int = 0
    last: int = 0
    detail: str = ""
    took: str = ""
    usage: str = ""
    tone: str = CALM

    @property
    def label(self) -> str:
        return label_of(self.type)

    @property
    def is_delta(self) -> bool:
        return self.type in DELTAS

    @property
    def is_long(self) -> bool:
        return len(self.text) > LONG


@dataclass(slots=True)
class Timeline:
    """A page of rows; `after` and `after_call` are where the next one begins."""

    rows: list[Row]
    after: int
    after_call: int
    has_more: bool


def timeline_of(run: AgentRun, after: int = 0, after_call: int = 0) -> Timeline:
    """Return what happened in a run after an event and a host call; two queries."""
    events = list(
        RunEvent.objects.filter(run=run, seq__gt=after)
        .order_by("seq")
        .only("seq", "type", "data", "usage", "created_at")[: PAGE + 1]
    )
    shown, has_more = events[:PAGE], len(events) > PAGE
    until = events[PAGE].created_at if has_more else None
    calls = _calls(run, after_call, until)
    start = run.queued_at or run.created_at
    rows = _event_rows(shown, start)
    last_call = calls[-1].pk if calls else after_call
    if calls:
        rows = sorted([*rows, *(_call_row(one, start) for one in calls)], key=_when)
    last = shown[-1].seq if shown else after
    return Timeline(rows, last, last_call, has_more)


def _calls(run: AgentRun, after: int, until: datetime | None) -> list[HostCall]:
    calls = HostCall.objects.filter(run=run, pk__gt=after)
    if until is not None:
        calls = calls.filter(created_at__lt=until)
    return list(calls.order_by("pk").defer("answer")[:CALLS])


def _when(row: Row) -> datetime:
    return row.at


def _event_rows(events: Iterable[RunEvent], start: datetime) -> list[Row]:
    rows: list[Row] = []
    started: dict[str, datetime] = {}  # tool calls under way
    for event in events:
        row = _row(event, start)
        if rows and row.is_delta and rows[-1].type == row.type:
            rows[-1].last = row.last
            rows[-1].text = (rows[-1].text + row.text)[:_LONGEST]
            continue
        row.took = _tool_time(event, started)
        rows.append(row)
    return rows


def _row(event: RunEvent, start: datetime) -> Row:
    data = event.data if isinstance(event.data, dict) else {}
    detail = ""
    if data and event.type not in DELTAS:
        detail = json.dumps(redact(data), indent=2, ensure_ascii=False)[:_LONGEST]
    return Row(
        type=event.type,
        at=event.created_at,
        offset=_offset(event.created_at, start),
        text=describe(event.type, data)[:_LONGEST],
        first=event.seq,
        last=event.seq,
        detail=detail,
        usage=usage_text(event.usage),
        tone=_TONES.get(event.type, CALM),
    )


def _tool_time(event: RunEvent, started: dict[str, datetime]) -> str:
    """Return how long a tool took, at the event of its end."""
    data = event.data if isinstance(event.data, dict) else {}
    name = str(data.get("tool_call_id") or data.get("tool_name") or "")
    if event.type == EventType.TOOL_CALL_STARTED:
        started[name] = event.created_at
    elif event.type == EventType.TOOL_CALL_COMPLETED and name in started:
        return _seconds(event.created_at, started.pop(name))
    return ""


def _call_row(call: HostCall, start: datetime) -> Row:
    is_answered = call.status == HostCallStatus.ANSWERED
    return Row(
        type="host.call",
        at=call.created_at,
        offset=_offset(call.created_at, start),
        text=f"{call.action} · {call.get_status_display()}",
        took=_seconds(call.answered_at, call.created_at) if call.answered_at else "",
        tone=CALM if is_answered else WARN,
    )


def usage_text(usage: Any) -> str:
    """Return recorded usage in one line, as `name number` pairs."""
    if not isinstance(usage, dict):
        return ""
    shown = [_usage_part(name, value) for name, value in usage.items()]
    return ", ".join(part for part in shown if part)


def _usage_part(name: str, value: Any) -> str:
    word = str(_USAGE.get(name, name.replace("_", " ")))
    if isinstance(value, bool):  # a flag such as `estimated`
        return word if value else ""
    return f"{word} {value:,}" if isinstance(value, int | float) else ""


def _offset(moment: datetime, start: datetime) -> str:
    return f"+{max((moment - start).total_seconds(), 0):.3f} s"


def _seconds(end: datetime, start: datetime) -> str:
    return f"{max((end - start).total_seconds(), 0):.3f} s"


__all__ = ["CALLS", "LONG", "PAGE", "Row", "Timeline", "timeline_of", "usage_text"]
