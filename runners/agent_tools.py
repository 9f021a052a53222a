"""The tools by which an agent asks another one: their names and what models read."""

from typing import Any

from agents.resources.tools import Tool
from langbot.lib.conf import limits

# A slug has 50 characters and a function's name 64, as model providers take them.
CALL_PREFIX = "call_agent_"
RESULT_TOOL = "sub_run_result"
DEFAULT_WAIT = 60  # AG-93


def tool_name(slug: str) -> str:
    """Return the name of the tool that asks an agent."""
    return f"{CALL_PREFIX}{slug}"


def tool_names(slugs: list[str]) -> list[str]:
    """Return the tools of an agent that may ask these: one each, and the results."""
    names = [tool_name(slug) for slug in dict.fromkeys(slugs)]
    return [*names, RESULT_TOOL] if names else []


def is_agent_tool(name: str) -> bool:
    """Whether a name is one of these tools, which only `agents` of a policy grants."""
    return name == RESULT_TOOL or name.startswith(CALL_PREFIX)


def ask_tool(slug: str, name: str, description: str) -> Tool:
    """Return the tool that asks an agent."""
    about = f"Ask the agent “{name}”. {description}".strip()
    text = "What the agent is to do, in full: it knows nothing of this conversation."
    properties: dict[str, Any] = {
        "text": {"type": "string", "minLength": 1, "description": text},
        "context": {
            "type": "string",
            "description": "Background that is put before the text.",
        },
        "sub_run_id": {
            "type": "string",
            "description": "An earlier call of this agent whose talk goes on.",
        },
        "wait_seconds": _wait(),
    }
    return Tool(
        name=tool_name(slug),
        type="agent",
        description=about,
        parameters=_schema(properties, ["text"]),
    )


def result_tool() -> Tool:
    """Return the tool that looks after an agent that was asked before."""
    properties: dict[str, Any] = {
        "sub_run_id": {"type": "string", "description": "As the call returned it."},
        "wait_seconds": _wait(),
        "cancel": {"type": "boolean", "description": "Stop it instead of waiting."},
        "include_progress": {
            "type": "boolean",
            "description": "Show its last messages while it works.",
        },
    }
    return Tool(
        name=RESULT_TOOL,
        type="agent",
        description="Get the answer of an agent that was still at work, or stop it.",
        parameters=_schema(properties, ["sub_run_id"]),
    )


def _wait() -> dict[str, Any]:
    return {
        "type": "integer",
        "minimum": 0,
        "maximum": limits().sub_run_wait_seconds,
        "default": DEFAULT_WAIT,
        "description": "Seconds to wait for the answer; 0 returns at once.",
    }


def _schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
