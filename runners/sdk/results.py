"""What a runner yields. The host numbers nothing: order of yielding is the order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runners.protocol.errors import ErrorCode
from runners.protocol.messages import INCREMENT, Message
from runners.protocol.results import TERMINAL_TYPES, LogLevel, StateScope
from runners.sdk.interactions import REQUESTED, Interaction


@dataclass(frozen=True, slots=True)
class Result:
    """One result; the connection adds run id and sequence."""

    type: str
    data: dict[str, Any]
    usage: Mapping[str, Any] | None = None

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL_TYPES


def delta(text: str) -> Result:
    """Say `text` next. It is only the new part, never the text so far."""
    chunk = {
        "role": "assistant",
        "content": text,
        "provider_specific_fields": INCREMENT,
    }
    return Result("message.delta", {"chunk": chunk})


def reasoning(text: str) -> Result:
    """Think `text` next: shown apart, never part of the answer or of the history."""
    return Result("reasoning.delta", {"text": text})


def completed(
    message: str | Message | Mapping[str, Any], file_ids: Sequence[str] = ()
) -> Result:
    """Give the whole message: the answer itself, or what the deltas added up to."""
    return Result(
        "message.completed",
        {"message": _message(message), "file_ids": list(file_ids)},
    )


def state(key: str, value: Any, scope: StateScope = "conversation") -> Result:
    """Remember `value` (JSON, at most 256 KiB) for later runs of the same scope."""
    return Result("state.updated", {"scope": scope, "key": key, "value": value})


def log(text: str, level: LogLevel = "info") -> Result:
    """Write a line for the people who look at the run."""
    return Result("processor.log", {"text": text, "level": level})


def tool_started(
    tool_call_id: str, tool_name: str, parameters: Mapping[str, Any]
) -> Result:
    """Tell that a tool of the runner's own is at work; the host executes nothing."""
    return Result(
        "tool.call.started",
        {
            "tool_call_id": tool_call_id,
            "tool_name": tool_name,
            "parameters": dict(parameters),
        },
    )


def tool_completed(
    tool_call_id: str, tool_name: str, result: Any = None, error: str | None = None
) -> Result:
    """Tell how that tool ended."""
    return Result(
        "tool.call.completed",
        {
            "tool_call_id": tool_call_id,
            "tool_name": tool_name,
            "result": result,
            "error": error,
        },
    )


def action_requested(
    action: str,
    payload: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
) -> Result:
    """Ask for an action, such as `interaction.requested` to ask a person."""
    return Result(
        "action.requested",
        {
            "action": action,
            "target": dict(target) if target is not None else None,
            "payload": dict(payload) if payload is not None else None,
        },
    )


def interaction(asked: Interaction) -> Result:
    """Ask a person; the answer starts a new run, which has it as `ctx.submission`.

    End this run after it: nothing waits for the answer.
    """
    return action_requested(REQUESTED, asked.model_dump(exclude_none=True))


def artifact(artifact_type: str, **fields: Any) -> Result:
    """Hand over a file: `name`, `mime_type`, `content_base64` (1 MiB decoded) …"""
    return Result("artifact.created", {"artifact_type": artifact_type, **fields})


def run_completed(
    message: str | Message | Mapping[str, Any] | None = None,
    *,
    finish_reason: str = "stop",
    usage: Mapping[str, Any] | None = None,
) -> Result:
    """End the run well. Yielding nothing terminal does the same."""
    data: dict[str, Any] = {"finish_reason": finish_reason}
    if message is not None:
        data["message"] = _message(message)
    return Result("run.completed", data, usage)


def failed(
    code: str,
    error: str,
    *,
    retryable: bool = False,
    usage: Mapping[str, Any] | None = None,
) -> Result:
    """End the run as failed, with a stable code and a text that people read."""
    data = {"error": error, "code": str(code), "retryable": retryable}
    return Result("run.failed", data, usage)


TIMED_OUT: Final = failed(
    ErrorCode.RUNNER_TIMEOUT, "The runner did not finish in time.", retryable=True
)


def _message(message: str | Message | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(message, str):
        return {"role": "assistant", "content": message}
    if isinstance(message, Message):
        return message.model_dump(exclude_none=True)
    return dict(message)
