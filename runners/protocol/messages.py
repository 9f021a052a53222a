"""Messages, their chunks, and the rule that turns chunks into new text."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

# Our own SDK marks a chunk whose content is only the new part. Without the mark a
# repeated token ("ha", "haha") cannot be told from the text so far.
INCREMENT: Final = {"langbot": {"delta": "increment"}}


class _Part(BaseModel):
    # Runners of several SDK generations add keys here; none of them carries meaning
    # for the host, so an unknown key costs nobody an answer.
    model_config = ConfigDict(extra="ignore", strict=True)


class ImageUrl(_Part):
    url: str


class ContentElement(_Part):
    """One piece of content: text, an image or a file."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None
    image_base64: str | None = None
    file_url: str | None = None
    file_base64: str | None = None
    file_name: str | None = None


class FunctionCall(_Part):
    name: str | None = None
    arguments: str | None = None


class ToolCall(_Part):
    """A model's wish to call a tool; in chunks every part may still be missing."""

    id: str | None = None
    type: str = "function"
    function: FunctionCall = Field(default_factory=FunctionCall)
    provider_specific_fields: dict[str, Any] | None = None


class Message(_Part):
    role: str = "assistant"
    name: str | None = None
    content: str | list[ContentElement] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    resp_message_id: str | None = None
    provider_specific_fields: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return text_of(self.content)

    @property
    def reasoning(self) -> str:
        """What the model thinks; it travels apart from the content (AG-57)."""
        said = (self.provider_specific_fields or {}).get("reasoning_content")
        return said if isinstance(said, str) else ""


class MessageChunk(Message):
    all_content: str | None = None
    is_final: bool = False
    msg_sequence: int = 0

    @property
    def is_increment(self) -> bool:
        """Whether the sender says that the content is only the new part."""
        mark = (self.provider_specific_fields or {}).get("langbot")
        return isinstance(mark, dict) and mark.get("delta") == "increment"


def text_of(content: str | list[ContentElement] | None) -> str:
    """Return the text of a string or of the text elements of a list."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(element.text or "" for element in content)


def delta_text(chunk: MessageChunk, text_so_far: str) -> str:
    """Return the part of `chunk` that is new after `text_so_far` of the same message.

    In this order: `all_content` is the full text so far; a marked chunk is an
    increment; content that begins with the text so far is the full text so far (what
    the released official runners send); anything else is an increment.
    """
    if chunk.all_content is not None:
        return chunk.all_content[len(text_so_far) :]
    content = text_of(chunk.content)
    if chunk.is_increment or not text_so_far or not content.startswith(text_so_far):
        return content
    return content[len(text_so_far) :]
