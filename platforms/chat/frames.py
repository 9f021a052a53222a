"""The chat socket's protocol: one JSON object per text message.

A client may begin with `auth` (its token of an earlier visit, and how far it has read
a run); without one, its first frame makes it a new visitor. Server frames:

    auth_ok           {"token"}
    history           {"items", "waiting", "running", "anew"?}; with `anew` messages
                      that are not among the items were replaced
    replaces          {"message_id", "messages"}: how many messages would go with an
                      answer made anew, which needs `confirmed`
    accepted          the answer shape of the contract, and "client_key"
    turn              {"run_id", "client_key"}: from here on this run is streamed
    agent_event       {"run_id", "seq", "event_type", "data", "created_at"}
    session_complete  {"run_id", "items", "waiting", "forgotten"}: the run has ended;
                      a later message may have had its turn forgotten
    withdrawn         {"message_id", "withdrawn", "waiting"}: whether it still waited
    stopped           {"stopped"}: whether there was a run to stop
    cards             {"items"}: what waits or waited for a person, as it is now
    heartbeat         {}: every 15 s while a run is followed
    error             {"code", "detail", "client_key"?, "action_id"?}: the socket stays
                      open; named is the message or the answer that was refused
"""

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

MAXIMUM_CHARACTERS = 256 * 1024  # of one client frame; a message has 32,000 at most


class FrameError(ValueError):
    """A frame that is not part of the protocol."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class Resume(BaseModel):
    """How far the client has read one run."""

    run_id: str = Field(max_length=36)
    after: int = Field(ge=0, lt=2**31)


class Auth(BaseModel):
    type: Literal["auth"]
    token: str = Field(default="", max_length=1000)
    resume_from: Resume | None = None


class Message(BaseModel):
    type: Literal["message"]
    text: str
    client_key: str = Field(pattern=r"^[!-~]{1,100}$")


class Regenerate(BaseModel):
    """A message whose answer is to be made anew; what came after it goes."""

    type: Literal["regenerate"]
    message_id: UUID
    confirmed: bool = False


class Withdraw(BaseModel):
    """A message of the visitor's that waits and is not to be answered."""

    type: Literal["withdraw"]
    message_id: UUID


class Interrupt(BaseModel):
    type: Literal["interrupt"]


class Answer(BaseModel):
    """A question's answer by field, the pressed button among them; null: none."""

    type: Literal["answer"]
    action_id: UUID
    values: dict[str, Any] | None = None


class HeartbeatAck(BaseModel):
    type: Literal["heartbeat_ack"]


ClientFrame = Auth | Message | Withdraw | Regenerate | Interrupt | Answer | HeartbeatAck
_frames: TypeAdapter[ClientFrame] = TypeAdapter(
    Annotated[ClientFrame, Field(discriminator="type")]
)


def read_frame(text: str | None) -> ClientFrame:
    """Parse a client's frame; raises FrameError."""
    if text is None:
        raise FrameError("invalid_frame", "only text frames are understood")
    if len(text) > MAXIMUM_CHARACTERS:
        raise FrameError("input_too_large", "the frame is too large")
    try:
        return _frames.validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FrameError("invalid_frame", f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise FrameError("invalid_frame", "not a JSON object") from None


def write_frame(kind: str, **members: Any) -> str:
    """Return a server frame."""
    return json.dumps({"type": kind, **members}, ensure_ascii=False)
