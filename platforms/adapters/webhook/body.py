"""The JSON that a generic webhook carries. This file is its documentation.

    {"conversation": "room-7", "actor": {"id": "ada"}, "text": "Hello"}

`conversation`, `thread` and `actor.id` are the sender's own keys. `message_id` (or the
`webhook-id` header without one) makes a repeat a duplicate. Only `message.received`
needs `text`, `contents` or `attachments`. `params` reach the runner as
`adapter.extra.params`, without names that look secret.
"""

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from platforms.events import MESSAGE_RECEIVED, is_event_name

Key = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Actor(BaseModel):
    """Who did it."""

    model_config = ConfigDict(extra="forbid")

    id: Key
    name: str = Field(default="", max_length=200)
    type: str = Field(default="user", max_length=50)


class WebhookBody(BaseModel):
    """One event; unknown keys are refused so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")

    type: str = MESSAGE_RECEIVED
    conversation: Key
    thread: str = Field(default="", max_length=200)
    actor: Actor
    text: str = ""
    contents: list[dict[str, Any]] = []
    attachments: list[dict[str, Any]] = Field(default=[], max_length=20)
    message_id: str = Field(default="", max_length=200)
    data: dict[str, Any] = {}
    params: dict[str, Any] = {}

    @field_validator("type")
    @classmethod
    def _known_form(cls, value: str) -> str:
        if not is_event_name(value):
            raise PydanticCustomError("name", "must be a name like message.received")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        empty = not (self.text.strip() or self.contents or self.attachments)
        if self.type == MESSAGE_RECEIVED and empty:
            raise PydanticCustomError(
                "empty", "text, contents or attachments is required"
            )
        return self

    @property
    def full_text(self) -> str:
        """Return the text, or the joined text parts of the contents (LB-15)."""
        if self.text:
            return self.text
        texts = [part.get("text") for part in self.contents if _is_text(part)]
        return "".join(str(text or "") for text in texts)


def _is_text(part: dict[str, Any]) -> bool:
    return part.get("type") == "text"


def problem_of(error: ValidationError) -> str:
    """Return the first problem in words that hold no part of the input."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
