"""The events of a run in words."""

import json
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from langbot.lib.redaction import redact
from runners.choices import ActionStatus, EventType

_LABELS: dict[str, Any] = {
    EventType.RUN_QUEUED: gettext_lazy("Queued"),
    EventType.RUN_STARTED: gettext_lazy("Run started"),
    EventType.RUN_PAUSED: gettext_lazy("Paused"),
    EventType.RUN_RESUMED: gettext_lazy("Resumed"),
    EventType.RUN_ADOPTED: gettext_lazy("Taken over by another worker"),
    EventType.MESSAGE_DELTA: gettext_lazy("Streamed text"),
    EventType.MESSAGE_COMPLETED: gettext_lazy("Message"),
    EventType.REASONING_DELTA: gettext_lazy("Reasoning"),
    EventType.TOOL_CALL_STARTED: gettext_lazy("Tool called"),
    EventType.TOOL_CALL_COMPLETED: gettext_lazy("Tool answered"),
    EventType.ARTIFACT_CREATED: gettext_lazy("File made"),
    EventType.STATE_UPDATED: gettext_lazy("State kept"),
    EventType.ACTION_REQUESTED: gettext_lazy("Person asked"),
    EventType.ACTION_RESOLVED: gettext_lazy("Person decided"),
    EventType.STEERING_QUEUED: gettext_lazy("Steering message waits"),
    EventType.STEERING_INJECTED: gettext_lazy("Steering message handed over"),
    EventType.STEERING_DROPPED: gettext_lazy("Steering message dropped"),
    EventType.PROCESSOR_LOG: gettext_lazy("Log"),
    EventType.WARNING: gettext_lazy("Warning"),
    EventType.RUN_COMPLETED: gettext_lazy("Run completed"),
    EventType.RUN_FAILED: pgettext_lazy("event", "Run ended without success"),
    "host.call": gettext_lazy("Call to the host"),
}


WAITS: dict[str, Any] = {
    "runner_offline": gettext_lazy(
        "It waits for a plugin that serves %(runner)s. None is connected; without one "
        "the run fails after a minute."
    ),
    "runner_busy": gettext_lazy(
        "It waits for a free place at a plugin that serves %(runner)s."
    ),
}


def waiting_words(reason: str, runner: str) -> str:
    """Return what a queued run waits for; the reason itself for an unknown one."""
    return str(WAITS[reason]) % {"runner": runner} if reason in WAITS else reason


def label_of(kind: str) -> str:
    """Return what an event's type is called; the type itself for an unknown one."""
    return str(_LABELS.get(kind, kind))


def describe(kind: str, data: dict[str, Any]) -> str:
    """Return the one text that says most about an event."""
    return _WORDS.get(kind, _plain)(data)


def message_text(message: Any) -> str:
    """Return the text of a message whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


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


def _asked(data: dict[str, Any]) -> str:
    """Return the tools that may run, or the title of a question."""
    calls = data.get("action_requests")
    if isinstance(calls, list):
        named = [call for call in calls if isinstance(call, dict)]
        return "\n".join(f"{c.get('name')} {_short(c.get('arguments'))}" for c in named)
    payload = data.get("payload")
    asked = payload if isinstance(payload, dict) else data
    return str(asked.get("title") or asked.get("action") or "")


def _decided(data: dict[str, Any]) -> str:
    """Return who decided what about which tool, and why."""
    status = str(data.get("status") or "")
    words = ActionStatus(status).label if status in ActionStatus.values else status
    parts = [data.get("decided_by"), data.get("tool_name"), words, data.get("reason")]
    return " · ".join(str(part) for part in parts if part)


def _plain(data: dict[str, Any]) -> str:
    """Return the words of an event: its code and what it says."""
    parts = [data.get("code"), data.get("level")]
    names = ("error", "message", "detail", "text", "reason", "name")
    words = [data.get(name) for name in names]
    said = [str(word) for word in [*parts, *words] if isinstance(word, str) and word]
    return ": ".join(said)


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
    EventType.ACTION_REQUESTED: _asked,
    EventType.ACTION_RESOLVED: _decided,
}


__all__ = ["WAITS", "describe", "label_of", "message_text", "waiting_words"]
