"""The errors that cross the wire, and the one exception that carries them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """Codes of failed runs and refused calls; runners may branch on them."""

    # How a run failed.
    RUNNER_ERROR = "runner.error"
    RUNNER_EXCEPTION = "runner.exception"
    RUNNER_TIMEOUT = "runner.timeout"
    RUNNER_IDLE = "runner.idle"
    RUNNER_EMPTY_OUTPUT = "runner.empty_output"
    RUNNER_PROTOCOL_ERROR = "runner.protocol_error"
    RUNNER_CONTEXT_INVALID = "runner.context_invalid"
    RUNNER_NOT_FOUND = "runner.not_found"
    RUNNER_NOT_INITIALIZED = "runner.not_initialized"
    RUNNER_DISABLED = "runner.disabled"
    RUNNER_UNAVAILABLE = "runner.unavailable"
    RUNNER_NO_MODEL = "runner.no_model"
    CANCELLED = "cancelled"
    CONNECTION_LOST = "connection_lost"
    HOST_LOST = "host_lost"
    BACKPRESSURE = "backpressure"
    APPROVAL_NOT_RESUMABLE = "approval_not_resumable"
    APPROVAL_EXPIRED = "approval_expired"

    # Why a result was not applied; these appear in warnings of the ledger.
    UNKNOWN_RESULT_TYPE = "unknown_result_type"
    INVALID_RESULT = "invalid_result"

    # Why a call was refused.
    ACTION_NOT_FOUND = "action.not_found"
    INVALID_REQUEST = "invalid_request"
    PERMISSION_DENIED = "permission_denied"
    TOOL_DENIED = "tool_denied"
    TOOL_REJECTED = "tool_rejected"
    CLIENT_UNAVAILABLE = "client.unavailable"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    RUN_NOT_ACTIVE = "run.not_active"
    MODEL_ERROR = "model.error"
    UNAVAILABLE = "unavailable"
    NOT_AVAILABLE = "not_available"
    PLATFORM_ERROR = "platform.error"

    # What a plugin's SDK makes of an answer without a code of its own (wire 2.3).
    RUNTIME_ERROR = "runtime_error"
    HOST_ACTION_ERROR = "host.action_error"
    HOST_MALFORMED_RESPONSE = "host.malformed_response"


class ProtocolError(Exception):
    """An error with a stable code and a message that is safe to show.

    `retryable` is advice for people and callers; nothing retries by itself.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.retryable = retryable
        self.details: dict[str, Any] = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        """Return the structured error of `data.error` (wire 2.3)."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "details": self.details,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r})"
