"""The client gateway's protocol: one JSON object per text message (contract).

The first frame of a client is `auth`. Server frames:

    auth_ok           {"run_id", "status", "last_seq", "expires_at", "pending_actions"}:
                      epoch seconds, and the data of `action.requested` events that are
                      open, for a client that comes anew
    auth_failed       {"code", "detail"}: final, the socket closes
    auth_expired      {"detail"}: send `auth` with a new token on this socket; nothing
                      is lost meanwhile, and nothing is sent
    agent_event       {"run_id", "seq", "event_type", "data", "created_at"}
    tool_request      {"call_id", "tool_name", "parameters", "expires_at"}: a tool that
                      the client executes and answers with `tool_result`
    tool_accepted     {"call_id"}: this answer is the one
    stopped           {"stopped"}: whether there was a run to stop
    heartbeat         {}: every 15 s
    session_complete  {"run_id", "status", "error_code", "last_seq"}: once, and the
                      socket closes
    error             {"code", "detail", "call_id"?}: the socket stays open
"""

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runners.live_hub import LiveEvent
from runners.protocol.results import MAX_PAYLOAD_BYTES

# JSON may write one character as six; a tool's answer is the largest frame.
MAXIMUM_CHARACTERS = MAX_PAYLOAD_BYTES + 64 * 1024
AUTH_CHARACTERS = 4 * 1024  # of a frame before the first token
CODES = 4000  # close codes that applications may use begin here
CLOSE_COMPLETE, CLOSE_FAILED = 1000, CODES + 1
CLOSE_REPLACED, CLOSE_FLOOD = CODES + 9, CODES + 29


class FrameError(ValueError):
    """A frame that is not part of the protocol."""

    def __init__(self, code: str, detail: str, call_id: UUID | None = None) -> None:
        self.code = code
        self.call_id = call_id
        super().__init__(detail)


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Auth(_Frame):
    type: Literal["auth"]
    token: str = Field(max_length=2000)
    resume_from: int = Field(default=0, ge=0, lt=2**31)  # the last `seq` it has


class Interrupt(_Frame):
    type: Literal["interrupt"]


class ToolResult(_Frame):
    """What a tool gave (`result`, an object), or why it failed (`error`)."""

    type: Literal["tool_result"]
    call_id: UUID
    result: dict[str, Any] | None = None
    error: str | None = Field(default=None, min_length=1, max_length=2000)


class HeartbeatAck(_Frame):
    type: Literal["heartbeat_ack"]


ClientFrame = Auth | Interrupt | ToolResult | HeartbeatAck
_frames: TypeAdapter[ClientFrame] = TypeAdapter(
    Annotated[ClientFrame, Field(discriminator="type")]
)


def read_frame(text: str | None, most: int = MAXIMUM_CHARACTERS) -> ClientFrame:
    """Parse a client's frame of at most so many characters; raises FrameError."""
    if text is None:
        raise FrameError("invalid_frame", "only text frames are understood")
    if len(text) > most:
        raise FrameError("input_too_large", "the frame is too large")
    try:
        frame = _frames.validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FrameError("invalid_frame", f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise FrameError("invalid_frame", "not a JSON object") from None
    if isinstance(frame, ToolResult) and (frame.result is None) == (not frame.error):
        detail = "tool_result: either result or error"
        raise FrameError("invalid_frame", detail, frame.call_id)
    return frame


def write_frame(kind: str, **members: Any) -> str:
    """Return a server frame."""
    return json.dumps({"type": kind, **members}, ensure_ascii=False)


def event_frame(event: LiveEvent) -> str:
    """Return an event as a frame, without writing its JSON again.

    Its members are those of `live_document`, in that order: the first “type” is the
    name, for what is before it are an id and a number.
    """
    members = event.text[1:].replace('"type"', '"event_type"', 1)
    return f'{{"type":"agent_event",{members}'
