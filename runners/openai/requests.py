"""What clients send to `/v1/chat/completions` and `/v1/responses`.

Both become one `Call`: a model, what was said, and how to answer. Sampling parameters
and anything unknown are ignored, for the agent decides them; what would change the
meaning of the answer (tools, formats, several choices) is refused.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runners.choices import Role
from runners.openai.errors import CallError, unsupported

MESSAGES = 2000
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message; `contents` are elements as events hold them."""

    role: Role
    contents: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return "".join(str(one.get("text") or "") for one in self.contents)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of either kind. The last of `messages` is what the user says now."""

    kind: str
    model: str
    messages: list[ChatMessage]
    stream: bool = False
    include_usage: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _File(_Shape):
    file_data: str | None = None
    filename: str | None = None


class _Image(_Shape):
    url: str


class _Part(_Shape):
    type: str
    text: str | None = None
    image_url: _Image | str | None = None
    file: _File | None = None  # chat
    file_data: str | None = None  # responses
    filename: str | None = None


class _Message(_Shape):
    type: str = "message"
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None


_Name = Annotated[str, Field(max_length=64)]
_Value = Annotated[str, Field(max_length=512)]


class _Options(_Shape):
    """What both kinds of call know."""

    model: str = Field(min_length=1, max_length=100)
    stream: bool | None = False
    user: str | None = Field(default=None, max_length=500)
    metadata: dict[_Name, _Value] | None = Field(default=None, max_length=16)
    tools: list[Any] | None = None

    def notes(self) -> dict[str, Any]:
        """Return what the run keeps of the caller's own words about the call."""
        notes: dict[str, Any] = dict(self.metadata or {})
        return {**notes, "user": self.user} if self.user else notes


class _StreamOptions(_Shape):
    include_usage: bool = False


class _ChatRequest(_Options):
    messages: list[_Message] = Field(min_length=1, max_length=MESSAGES)
    stream_options: _StreamOptions | None = None
    n: int | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None


class _OtherItem(_Shape):
    """An item of an earlier answer that is no message."""

    type: Literal["reasoning"]


class _ResponseRequest(_Options):
    input: str | Annotated[list[_Message | _OtherItem], Field(max_length=MESSAGES)]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    text: dict[str, Any] | None = None


Shape = TypeVar("Shape", bound=_Shape)


def read_chat(body: Any) -> Call:
    """Return the call that a chat completion asks for; raises CallError (400)."""
    given = _read(_ChatRequest, body)
    _refuse_tools(given.tools or given.functions)
    _refuse_format(given.response_format, "response_format")
    if given.n not in {None, 1}:
        raise unsupported("n", _("An agent gives one answer."))
    if given.logprobs:
        raise unsupported("logprobs", _("An agent has no log probabilities."))
    if set(given.modalities or ["text"]) != {"text"}:
        raise unsupported("modalities", _("An agent answers with text."))
    options = given.stream_options or _StreamOptions()
    return Call(
        kind="chat.completions",
        model=given.model,
        messages=_conversation(given.messages, "messages"),
        stream=bool(given.stream),
        include_usage=options.include_usage,
        metadata=given.notes(),
    )


def read_response(body: Any) -> Call:
    """Return the call that a response asks for; raises CallError (400)."""
    given = _read(_ResponseRequest, body)
    _refuse_tools(given.tools)
    _refuse_format((given.text or {}).get("format"), "text.format")
    for name in ("previous_response_id", "conversation", "background"):
        if getattr(given, name):
            raise unsupported(name, _("Send the whole history with each call."))
    items = given.input
    if isinstance(items, str):
        items = [_Message(role="user", content=items)]
    messages = [one for one in items if isinstance(one, _Message)]
    if given.instructions:
        messages.insert(0, _Message(role="system", content=given.instructions))
    return Call(
        kind="responses",
        model=given.model,
        messages=_conversation(messages, "input"),
        stream=bool(given.stream),
        metadata=given.notes(),
    )


def _read(shape: type[Shape], body: Any) -> Shape:
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        # The deepest says most where a value may have several shapes.
        problem = max(error.errors(), key=lambda one: len(one["loc"]))
        param = ".".join(filter(_is_member, map(str, problem["loc"]))) or None
        message = f"{param or 'body'}: {problem['msg']}"
        raise CallError(400, "invalid_value", message, param=param) from None


def _is_member(name: str) -> bool:
    """Whether a part of an error's place is the sender's, and no type of ours."""
    return re.fullmatch(r"[a-z0-9][a-z0-9_]*", name) is not None and name != "str"


def _refuse_tools(tools: list[Any] | None) -> None:
    if tools:
        raise unsupported("tools", _("An agent uses tools of its own."))


def _refuse_format(given: Any, param: str) -> None:
    kind = given.get("type", "text") if isinstance(given, dict) else "text"
    if kind != "text":
        raise unsupported(param, _("An agent answers with text."))


def _conversation(messages: list[_Message], param: str) -> list[ChatMessage]:
    said = [
        ChatMessage(_ROLES[message.role], _contents(message, f"{param}.{number}"))
        for number, message in enumerate(messages)
    ]
    if not said or said[-1].role != Role.USER:
        message = _("The last message has to be the user's.")
        raise CallError(400, "invalid_value", message, param=param)
    if not said[-1].contents:
        message = _("The last message is empty.")
        raise CallError(400, "invalid_value", message, param=param)
    return said


def _contents(message: _Message, param: str) -> list[dict[str, Any]]:
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_element(part, f"{param}.content") for part in content or []]


def _element(part: _Part, param: str) -> dict[str, Any]:
    """Return a part as events hold it."""
    if part.type in {"text", "input_text", "output_text", "refusal"}:
        return {"type": "text", "text": part.text or ""}
    if part.type in {"image_url", "input_image"} and part.image_url:
        image = part.image_url
        url = image if isinstance(image, str) else image.url
        return {"type": "image_url", "image_url": {"url": url}}
    file = part.file or _File(file_data=part.file_data, filename=part.filename)
    if part.type in {"file", "input_file"} and file.file_data:
        name = file.filename or ""
        return {"type": "file_base64", "file_base64": file.file_data, "file_name": name}
    message = _("Parts of type %s are not supported.") % part.type[:50]
    raise unsupported(param, message)


__all__ = ["Call", "ChatMessage", "read_chat", "read_response"]
