"""The host's own tools: the reply to the event, and the actions of bots' platforms."""

from agents.resources.tools import Tool

REPLY_TOOL = "event_reply"
PLATFORM_PREFIX = "platform_"
REPLY_CHARACTERS = 200_000  # of one reply (wire 6)
SEND_MESSAGE = "send_message"

_MESSAGE = {
    "type": "array",
    "description": "A chain of components, such as {type: Plain, text: Hello}.",
    "items": {"type": "object"},
}


def reply_tool() -> Tool:
    """Return the tool that answers the current event at once."""
    return Tool(
        name=REPLY_TOOL,
        type="platform",
        description="Send a message to the conversation that this event came from.",
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": REPLY_CHARACTERS},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
    )


def platform_tool(name: str) -> Tool:
    """Return the tool of a platform action; the platform says what it takes."""
    action = name.removeprefix(PLATFORM_PREFIX)
    properties = _PARAMETERS.get(action, {})
    return Tool(
        name=name,
        type="platform",
        description=_DESCRIPTIONS.get(action, f"Do “{action}” on a bot's platform."),
        parameters={
            "type": "object",
            "properties": {"bot_uuid": {"type": "string"}, **properties},
            "required": list(properties),
        },
    )


_DESCRIPTIONS = {
    SEND_MESSAGE: "Send a message to a person or a group that the bot can reach.",
}
_PARAMETERS: dict[str, dict[str, object]] = {
    SEND_MESSAGE: {
        "target_type": {"type": "string", "enum": ["person", "group"]},
        "target_id": {"type": "string"},
        "message": _MESSAGE,
    },
}
