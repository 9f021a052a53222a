"""Turns a wire request into the body of an OpenAI-compatible chat completion."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.shapes import LlmRequest, ModelSpec
from runners.protocol.messages import ContentElement, Message, ToolCall

# A runner may tune a call, but not change which model is asked, or for how many
# answers, or what our own reading of the answer rests on.
RESERVED = frozenset({"model", "messages", "stream", "stream_options", "n", "tools"})
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
# How the base64 of each image format begins.
_IMAGE_TYPES = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
_NO_PARAMETERS = {"type": "object", "properties": {}}


def request_body(model: ModelSpec, request: LlmRequest) -> dict[str, Any]:
    """Return the JSON body; raises ModelError for messages that are not wire ones."""
    extra = {**model.extra_args, **request.extra_args}
    body = {key: value for key, value in extra.items() if key not in RESERVED}
    body["model"] = model.name
    body["messages"] = [
        _message(index, item) for index, item in enumerate(request.messages)
    ]
    if request.funcs:
        body["tools"] = [_tool(func) for func in request.funcs]
    return body


def _message(index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    try:
        message = Message.model_validate(item)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        place = ".".join(map(str, ("messages", index, *problem["loc"])))
        text = f"{place}: {problem['msg']}"
        raise ModelError(ModelErrorCode.BAD_REQUEST, text) from None
    role = message.role if message.role in _ROLES else "user"
    body: dict[str, Any] = {"role": role, "content": _content(message, role)}
    if message.name:
        body["name"] = message.name
    if message.tool_calls:
        body["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
        body["content"] = body["content"] or None
    if role == "tool":
        body["tool_call_id"] = message.tool_call_id or ""
    return body


def _content(message: Message, role: str) -> str | list[dict[str, Any]]:
    if not isinstance(message.content, list):
        return message.content or ""
    parts = [_part(element) for element in message.content]
    # Many servers take parts from users only, and none of them minds plain text.
    if role != "user" or all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts if part["type"] == "text")
    return parts


def _part(element: ContentElement) -> dict[str, Any]:
    if element.image_url is not None:
        return {"type": "image_url", "image_url": {"url": element.image_url.url}}
    if element.image_base64:
        url = data_url(element.image_base64)
        return {"type": "image_url", "image_url": {"url": url}}
    if element.file_base64:
        return {
            "type": "file",
            "file": {
                "filename": element.file_name or "file",
                "file_data": data_url(element.file_base64, "application/octet-stream"),
            },
        }
    if element.file_url:
        name = element.file_name or "file"
        return {"type": "text", "text": f"[{name}]({element.file_url})"}
    return {"type": "text", "text": element.text or ""}


def data_url(payload: str, otherwise: str = "image/jpeg") -> str:
    """Return base64 as a data URL; an image's type is read from its first bytes."""
    if payload.startswith("data:"):
        return payload
    found = [kind for start, kind in _IMAGE_TYPES.items() if payload.startswith(start)]
    return f"data:{found[0] if found else otherwise};base64,{payload}"


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {
        **(call.provider_specific_fields or {}),
        "id": call.id or "",
        "type": "function",
        "function": {
            "name": call.function.name or "",
            "arguments": call.function.arguments or "{}",
        },
    }


def _tool(func: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": func.get("name") or "",
            "description": func.get("description") or func.get("human_desc") or "",
            "parameters": _in_order(func.get("parameters") or _NO_PARAMETERS),
        },
    }


def _in_order(schema: Any) -> Any:
    """Return a schema with its members in one order.

    A database may hand them back in another one, and a provider's cache holds what it
    was sent byte for byte (AG-92).
    """
    if isinstance(schema, Mapping):
        return {name: _in_order(schema[name]) for name in sorted(schema)}
    if isinstance(schema, list):
        return [_in_order(item) for item in schema]
    return schema
