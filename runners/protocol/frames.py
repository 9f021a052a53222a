"""The wire: one JSON object per WebSocket text message (`wire.md` §2).

A frame with `code` is a response, one with `action` a request. Each direction numbers
its own requests. Built frames are UTF-8 bytes, ready for a text message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticSerializationError, from_json, to_json

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError

__all__ = [
    "CONTINUE",
    "END",
    "FILE_SLICE_BYTES",
    "MAX_CONCURRENT_REQUESTS",
    "MAX_ERROR_CHARACTERS",
    "MAX_FRAME_BYTES",
    "MAX_OPEN_TRANSFERS",
    "Action",
    "FrameError",
    "Request",
    "Response",
    "build_end",
    "build_error",
    "build_request",
    "build_response",
    "encode",
    "parse_frame",
]

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024  # wire 2.6
MAX_ERROR_CHARACTERS: Final = 4096  # wire 2.3
MAX_CONCURRENT_REQUESTS: Final = 128  # wire 2.5
FILE_SLICE_BYTES: Final = 16_384  # wire 2.8
MAX_OPEN_TRANSFERS: Final = 128  # wire 2.8
CONTINUE: Final = "continue"
END: Final = "end"
OK: Final = 0
FAILED: Final = 1

_LARGEST_SEQ_ID: Final = 2**63 - 1
_NUL: Final = "\\u0000"
_NUL_BYTES: Final = b"\\u0000"


class FrameError(ProtocolError):
    """A message that is no valid frame.

    `seq_id` is the number the sender waits on, when it could be read.
    """

    def __init__(
        self,
        message: str,
        *,
        seq_id: int | None = None,
        code: str = ErrorCode.INVALID_REQUEST,
    ) -> None:
        super().__init__(code, message)
        self.seq_id = seq_id


# Not frozen: there is one for each frame, and freezing makes them four times as dear.
@dataclass(slots=True)
class Request:
    seq_id: int
    action: str
    data: dict[str, Any]
    context: dict[str, Any] | None = None
    """The tenant binding of wire 2.7, when the sender has one."""
    wants_flow_control: bool = False


@dataclass(slots=True)
class Response:
    seq_id: int
    code: int
    message: str
    data: dict[str, Any]
    chunk_status: str = CONTINUE
    stream_index: int | None = None

    @property
    def is_error(self) -> bool:
        return self.code != OK

    @property
    def is_end(self) -> bool:
        """Whether nothing follows: the end of a stream, or an error (wire 2.4)."""
        return self.chunk_status == END or self.code != OK

    def error(self, action: str = "") -> ProtocolError:
        """Return the error of a failed response, with the code the sender gave."""
        nested = self.data.get("error")
        body = nested if isinstance(nested, dict) else self.data
        code, details = body.get("code"), body.get("details")
        if not isinstance(code, str):
            return ProtocolError(
                ErrorCode.HOST_ACTION_ERROR,
                self.message,
                details={"action": str(action), "response_data": self.data},
            )
        return ProtocolError(
            code,
            str(body.get("message") or self.message),
            retryable=body.get("retryable") is True,
            details=details if isinstance(details, dict) else None,
        )


def parse_frame(text: str | bytes) -> Request | Response:
    """Read one message.

    Raises `FrameError` for anything that is not a frame. NUL characters are removed
    from strings, because no database stores them.
    """
    if len(text) > MAX_FRAME_BYTES:
        raise FrameError("frame over 16 MiB", code=ErrorCode.TOO_LARGE)
    try:
        frame = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        message = f"not JSON: {error}"
        raise FrameError(message[:MAX_ERROR_CHARACTERS]) from None
    if (_NUL in text) if isinstance(text, str) else (_NUL_BYTES in text):
        frame = _without_nul(frame)
    if not isinstance(frame, dict):
        raise FrameError("a frame is a JSON object")
    seq_id = frame.get("seq_id")
    if type(seq_id) is not int or not 0 <= seq_id <= _LARGEST_SEQ_ID:
        raise FrameError("seq_id must be an integer")
    if "code" in frame:
        return _response(seq_id, frame)
    return _request(seq_id, frame)


def _request(seq_id: int, frame: dict[str, Any]) -> Request:
    action, data, context = frame.get("action"), frame.get("data"), frame.get("context")
    if type(action) is not str or not action:
        raise FrameError("action must be a string", seq_id=seq_id)
    if type(data) is not dict:
        raise FrameError("data must be an object", seq_id=seq_id)
    if context is not None and type(context) is not dict:
        raise FrameError("context must be an object", seq_id=seq_id)
    return Request(seq_id, action, data, context, frame.get("stream_flow_control") == 1)


def _response(seq_id: int, frame: dict[str, Any]) -> Response:
    code, message, data = frame["code"], frame.get("message"), frame.get("data")
    status, index = frame.get("chunk_status", CONTINUE), frame.get("stream_index")
    if type(code) is not int or type(message) is not str or type(data) is not dict:
        raise FrameError(
            "a response needs an integer code, a message and a data object",
            seq_id=seq_id,
        )
    if status not in (CONTINUE, END):
        raise FrameError("chunk_status must be continue or end", seq_id=seq_id)
    if index is not None and type(index) is not int:
        raise FrameError("stream_index must be an integer", seq_id=seq_id)
    return Response(seq_id, code, message, data, status, index)


def build_request(
    seq_id: int,
    action: str,
    data: Mapping[str, Any],
    context: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a request; raises `FrameError` when it cannot be sent."""
    frame: dict[str, Any] = {"seq_id": seq_id, "action": action, "data": data}
    if context is not None:
        frame["context"] = context
    return encode(frame)


def build_response(
    seq_id: int, data: Mapping[str, Any], chunk_status: str = CONTINUE
) -> bytes:
    """Return a good answer, or one chunk of a stream."""
    return encode(
        {
            "seq_id": seq_id,
            "code": OK,
            "message": "success",
            "data": data,
            "chunk_status": chunk_status,
        }
    )


def build_end(seq_id: int) -> bytes:
    """Return the frame that ends a stream."""
    return build_response(seq_id, {}, END)


def build_error(seq_id: int, error: ProtocolError) -> bytes:
    """Return an error; on a stream it is the last frame."""
    return encode(
        {
            "seq_id": seq_id,
            "code": FAILED,
            "message": error.message[:MAX_ERROR_CHARACTERS],
            "data": {"error": error.as_dict()},
            "chunk_status": CONTINUE,
        }
    )


def encode(value: Any) -> bytes:
    """Return JSON as the wire carries it: UTF-8, infinities and NaN as null.

    Raises `FrameError` for what JSON cannot hold and for more than 16 MiB.
    """
    try:
        text = to_json(value, inf_nan_mode="null")
    except PydanticSerializationError as error:
        raise FrameError(f"cannot be sent as JSON: {error}") from None
    if len(text) > MAX_FRAME_BYTES:
        raise FrameError("frame over 16 MiB", code=ErrorCode.TOO_LARGE)
    return text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return value
