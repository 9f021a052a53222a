"""What a runner may answer: the nine result types of `wire.md` §5.1 and two more.

`parse_result` is on the hot path (one call per delta); it validates in compiled code
and measures a payload only when its frame could be over the limit.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import encode
from runners.protocol.messages import (
    INCREMENT,
    ContentElement,
    Message,
    MessageChunk,
    delta_text,
    text_of,
)

__all__ = [
    "INCREMENT",
    "MAX_SEQUENCE",
    "RESULT_TYPES",
    "TERMINAL_TYPES",
    "ActionRequested",
    "ArtifactCreated",
    "ContentElement",
    "InvalidResult",
    "MalformedResult",
    "Message",
    "MessageChunk",
    "MessageCompleted",
    "MessageDelta",
    "OversizeResult",
    "ParsedResult",
    "ProcessorLog",
    "ReasoningDelta",
    "ResultData",
    "ResultError",
    "RunCompleted",
    "RunFailed",
    "StateUpdated",
    "ToolCallCompleted",
    "ToolCallStarted",
    "UnknownResultType",
    "delta_text",
    "is_finite",
    "parse_result",
    "plain_text",
    "text_of",
]

MAX_PAYLOAD_BYTES: Final = 1024 * 1024  # LB-57
MAX_ARTIFACT_PAYLOAD_BYTES: Final = 1536 * 1024  # architecture 7
MAX_INLINE_ARTIFACT_BYTES: Final = 1024 * 1024  # LB-59, decoded
MAX_LOG_CHARACTERS: Final = 65_536  # wire 5.1
MAX_FILES_PER_MESSAGE: Final = 100  # wire 5.1
MAX_SEQUENCE: Final = 2**31 - 1  # what a column holds; a result a millisecond: 24 days

StateScope = Literal["conversation", "actor", "subject", "runner"]
LogLevel = Literal["debug", "info", "warning", "error"]


class ResultData(BaseModel):
    """Payload of one result; unknown keys make it invalid (LB-26, LB-54)."""

    model_config = ConfigDict(extra="forbid", strict=True)


class MessageDelta(ResultData):
    chunk: MessageChunk


class MessageCompleted(ResultData):
    message: Message
    file_ids: list[str] = Field(default=[], max_length=MAX_FILES_PER_MESSAGE)


class ReasoningDelta(ResultData):
    text: str


class ToolCallResult(ResultData):
    """Loose telemetry (LB-54): whatever a runner tells about its tools is kept."""

    model_config = ConfigDict(extra="allow", strict=False, coerce_numbers_to_str=True)

    tool_call_id: str = ""
    tool_name: str = ""


class ToolCallStarted(ToolCallResult):
    parameters: Any = None


class ToolCallCompleted(ToolCallResult):
    result: Any = None
    error: Any = None


class StateUpdated(ResultData):
    scope: StateScope
    key: str = Field(min_length=1, max_length=255)
    value: Any


class ActionRequested(ResultData):
    action: str = Field(min_length=1)
    target: dict[str, Any] | None = None
    payload: dict[str, Any] | None = None


class ProcessorLog(ResultData):
    text: str = Field(max_length=MAX_LOG_CHARACTERS)
    level: LogLevel = "info"


class ArtifactCreated(ResultData):
    """A file a runner made, inline as base64 or described only (LB-59)."""

    artifact_type: str = Field(min_length=1)
    artifact_id: str | None = None
    mime_type: str | None = None
    name: str | None = None
    size: int | None = Field(default=None, ge=0)
    sha256: str | None = None
    metadata: dict[str, Any] = {}
    content_base64: str | None = None

    def content(self) -> bytes | None:
        """Return the inline bytes; raises ValueError for bad base64."""
        if self.content_base64 is None:
            return None
        try:
            return base64.b64decode(self.content_base64, validate=True)
        except binascii.Error as error:
            message = f"content_base64: {error}"
            raise ValueError(message) from None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        content = self.content()
        if content is not None and len(content) > MAX_INLINE_ARTIFACT_BYTES:
            message = "inline content over 1 MiB"
            raise ValueError(message)
        return self


class RunCompleted(ResultData):
    finish_reason: str = "stop"
    message: Message | None = None


class RunFailed(ResultData):
    error: str
    code: str = ErrorCode.RUNNER_ERROR.value
    retryable: bool = False


RESULT_TYPES: Final[dict[str, type[ResultData]]] = {
    "message.delta": MessageDelta,
    "message.completed": MessageCompleted,
    "reasoning.delta": ReasoningDelta,
    "tool.call.started": ToolCallStarted,
    "tool.call.completed": ToolCallCompleted,
    "artifact.created": ArtifactCreated,
    "state.updated": StateUpdated,
    "action.requested": ActionRequested,
    "processor.log": ProcessorLog,
    "run.completed": RunCompleted,
    "run.failed": RunFailed,
}
TERMINAL_TYPES: Final = frozenset({"run.completed", "run.failed"})
_FREE_FORM: Final = (StateUpdated, ActionRequested, ToolCallResult, ArtifactCreated)


class ResultError(ProtocolError):
    """A result that is not applied; `result_type` and `data` are as received."""

    default_code: str = ErrorCode.RUNNER_PROTOCOL_ERROR

    def __init__(self, message: str, *, result_type: str = "", data: Any = None):
        super().__init__(self.default_code, message)
        self.result_type = result_type
        self.data = data if is_finite(data) else from_json(encode(data))


class MalformedResult(ResultError):  # noqa: N818  # named after what came in
    """No object, or without a type: the runner does not speak the protocol."""


class UnknownResultType(ResultError):  # noqa: N818  # named after what came in
    """A type this host does not know; it is kept as a warning and has no effect."""

    default_code = ErrorCode.UNKNOWN_RESULT_TYPE


class InvalidResult(ResultError):  # noqa: N818  # named after what came in
    """A known type whose payload is wrong; it is dropped with a warning."""

    default_code = ErrorCode.INVALID_RESULT


class OversizeResult(InvalidResult):
    """A payload over its limit."""

    default_code = ErrorCode.TOO_LARGE


@dataclass(slots=True)
class ParsedResult:
    """One valid result.

    `sequence` is None when the runner sent no usable number, `usage` when it sent none.
    """

    type: str
    data: ResultData
    run_id: str | None
    sequence: int | None
    usage: dict[str, Any] | None

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL_TYPES


# What else a chunk may hold; anything in it needs the whole validation.
_PLAIN_CHUNK: Final[dict[str, type]] = {
    "content": str,
    "role": str,
    "is_final": bool,
    "msg_sequence": int,
}


def plain_text(raw: Mapping[str, Any]) -> str | None:
    """Return the content of a delta that is nothing but text, else None.

    Nearly all results are such; this takes a quarter of what `parse_result` takes and
    accepts nothing that it refuses.
    """
    if raw.get("type") != "message.delta" or raw.get("usage") is not None:
        return None
    data = raw.get("data")
    if type(data) is not dict or len(data) != 1:
        return None
    chunk = data.get("chunk")
    if type(chunk) is not dict:
        return None
    for name, value in chunk.items():
        if type(value) is not _PLAIN_CHUNK.get(name) and (
            value is not None or name in _PLAIN_CHUNK
        ):
            return None
    return chunk.get("content")


def parse_result(
    raw: Mapping[str, Any], *, frame_bytes: int | None = None
) -> ParsedResult:
    """Validate one result of a runner's stream.

    `frame_bytes` is the size of the frame it came in, when the caller knows it: it
    saves measuring. Raises `MalformedResult`, `UnknownResultType`, `InvalidResult` or
    `OversizeResult`.
    """
    result_type, data = raw.get("type"), raw.get("data")
    if type(result_type) is not str or not result_type:
        message = "a result needs a type"
        raise MalformedResult(message, data=raw)
    _check_size(result_type, data, frame_bytes)
    model = RESULT_TYPES.get(result_type)
    if model is None:
        message = f"unknown result type {result_type[:100]}"
        raise UnknownResultType(message, result_type=result_type, data=data)
    run_id, sequence, usage = raw.get("run_id"), raw.get("sequence"), raw.get("usage")
    return ParsedResult(
        result_type,
        _validated(result_type, model, data),
        run_id if type(run_id) is str else None,
        sequence if type(sequence) is int and 0 < sequence <= MAX_SEQUENCE else None,
        usage if type(usage) is dict and is_finite(usage) else None,
    )


def _validated(result_type: str, model: type[ResultData], data: Any) -> ResultData:
    if not isinstance(data, dict):
        message = f"{result_type}: data must be an object"
        raise InvalidResult(message, result_type=result_type, data=data)
    try:
        parsed = model.model_validate(data)
    except ValidationError as error:
        raise InvalidResult(
            _reason(result_type, error), result_type=result_type, data=data
        ) from None
    if isinstance(parsed, _FREE_FORM) and not is_finite(data):
        message = f"{result_type}: a number is not finite"
        raise InvalidResult(message, result_type=result_type, data=data)
    return parsed


def _check_size(result_type: str, data: Any, frame_bytes: int | None) -> None:
    is_artifact = result_type == "artifact.created"
    limit = MAX_ARTIFACT_PAYLOAD_BYTES if is_artifact else MAX_PAYLOAD_BYTES
    if frame_bytes is not None and frame_bytes <= limit:
        return
    size = len(encode(data))
    if size > limit:
        message = f"{result_type[:100]}: {size} bytes, at most {limit}"
        raise OversizeResult(message, result_type=result_type)


def is_finite(value: Any) -> bool:
    """Say whether JSON data can be stored: `1e999` parses as an infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(is_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(is_finite(item) for item in value)
    return True


def _reason(result_type: str, error: ValidationError) -> str:
    # Never the values: they may be long, or secret.
    details = error.errors(
        include_url=False, include_input=False, include_context=False
    )
    where = "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'data'}: {detail['msg']}"
        for detail in details[:5]
    )
    return f"{result_type}: {where}"
