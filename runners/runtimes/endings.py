"""Taking results and endings that come by a call, not in a stream, into a run's log."""

from typing import Any

from runners.choices import RunStatus
from runners.engine.results import ResultLog
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import encode

_CODES = {
    RunStatus.FAILED: ErrorCode.RUNNER_ERROR,
    RunStatus.CANCELLED: ErrorCode.CANCELLED,
    RunStatus.TIMEOUT: ErrorCode.RUNNER_TIMEOUT,
}


def apply_result(log: ResultLog, raw: dict[str, Any]) -> None:
    """Take a result from outside a stream into a run's log."""
    numbered = raw
    if raw.get("sequence") is None:
        numbered = {**raw, "sequence": log.last_sequence + 1}
    log.apply(numbered, len(encode(raw)))


def apply_ending(log: ResultLog, status: str, reason: str, usage: Any = None) -> None:
    """End a run's log; `completed` goes by the rules of `run.completed`."""
    if status == RunStatus.COMPLETED:
        data = {"finish_reason": reason} if reason else {}
        result = {"type": "run.completed", "data": data, "usage": usage}
        apply_result(log, result)
        return
    ended = RunStatus(status)
    log.fail(_CODES[ended], reason or ended.value, status=ended)
    if log.ending is not None and isinstance(usage, dict):
        log.ending.usage = usage
