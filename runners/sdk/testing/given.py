"""What a test may give the host in memory, and the context that says so."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

from runners.protocol.results import StateScope
from runners.sdk.replies import REPLY_TOOL

if TYPE_CHECKING:
    from runners.sdk.runner import Runner

DEFAULT_SECONDS: Final = 30.0
CONVERSATION: Final = "conversation"
TOOL_CALLING: Final = "tool_calling"
RETRIEVAL: Final = "knowledge_retrieval"

ModelScript = str | Sequence[Any] | Callable[[dict[str, Any]], Any]
HostAnswer = Callable[[dict[str, Any]], dict[str, Any]]


class Given(TypedDict, total=False):
    """Everything is optional; what is not given is empty."""

    config: Mapping[str, Any]
    """The agent's settings, over the defaults of the runner's schema."""
    state: Mapping[StateScope, Mapping[str, Any]]
    """`{"conversation": {"count": 1}}`"""
    storage: Mapping[str, bytes]
    """The plugin's storage."""
    history: Sequence[tuple[str, str]]
    """What was said before, oldest first: `[("user", "hi"), ("assistant", "hello")]`"""
    files: Mapping[str, bytes]
    """Files that came with the message, by id."""
    models: Mapping[str, ModelScript]
    """What each model answers: a text or message, a list of those for call after call
    (the last one stays), or a function of the request. An exception is raised. For
    embeddings the function returns vectors, for reranking a score of each document."""
    tools: Mapping[str, Any]
    """A function of the tool's parameters, async or not, or just its result."""
    knowledge: Mapping[str, Sequence[str]]
    """The passages of each knowledge base; found are those that share words."""
    steering: Sequence[str]
    """What people add while the run is at work."""
    prompt: Sequence[Mapping[str, Any]]
    """The agent's prompt as messages."""
    calls: Mapping[str, HostAnswer]
    """Answers to any other host call, or instead of ours: data in, data out."""
    context: Mapping[str, Any]
    """Parts of the context as the wire has them, instead of ours."""
    streaming: bool
    """Whether somebody can see a half-finished answer; default yes."""
    seconds: float
    """Until the run's deadline; default 30."""


def _event() -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "message.received",
        "event_time": int(time.time()),
        "source": "test",
    }


def build_context(runner: "type[Runner]", text: str, given: Given) -> dict[str, Any]:
    """Return the context of one run, as the host would send it.

    Raises `ValueError` for a setting that the runner's schema requires.
    """
    return {
        "run_id": str(uuid.uuid4()),
        "trigger": {"type": "message.received", "source": "api"},
        "event": _event(),
        "conversation": {"conversation_id": CONVERSATION, "sender_id": "tester"},
        "actor": {"actor_type": "user", "actor_id": "tester", "actor_name": "Tester"},
        "input": {"text": text, "attachments": _attachments(given)},
        "delivery": {
            "surface": "test",
            "supports_streaming": given.get("streaming", True),
        },
        "resources": _resources(runner, given),
        "context": {
            "conversation_id": CONVERSATION,
            "has_history_before": bool(given.get("history")),
            "available_apis": _available_apis(runner),
        },
        "state": {scope: dict(kept) for scope, kept in given.get("state", {}).items()},
        "runtime": {"deadline_at": time.time() + given.get("seconds", DEFAULT_SECONDS)},
        "config": _config(runner, given.get("config", {})),
        **given.get("context", {}),
    }


def permitted(runner: "type[Runner]", resource: str) -> list[str]:
    """Return the operations of a resource that the runner's manifest asks for."""
    return list(runner.permissions.get(resource, ()))


def _attachments(given: Given) -> list[dict[str, Any]]:
    return [
        {"ref": name, "name": name, "type": "file", "size": len(content)}
        for name, content in given.get("files", {}).items()
    ]


def _resources(runner: "type[Runner]", given: Given) -> dict[str, Any]:
    def granted(resource: str, key: str, names: Any) -> list[dict[str, Any]]:
        operations = permitted(runner, resource)
        if not operations:
            return []
        return [{key: name, "operations": operations} for name in names]

    has_tools = TOOL_CALLING in runner.capabilities
    given_tools = given.get("tools", {}) if has_tools else {}
    tools = granted("tools", "tool_name", given_tools)
    for tool in tools:
        tool["description"] = described(given_tools[tool["tool_name"]])
    if "call" in permitted(runner, "tools"):
        tools += granted("tools", "tool_name", [REPLY_TOOL])
    retrieves = RETRIEVAL in runner.capabilities
    bases = given.get("knowledge", {}) if retrieves else {}
    places = permitted(runner, "storage")
    return {
        "models": granted("models", "model_id", given.get("models", {})),
        "tools": tools,
        "knowledge_bases": granted("knowledge_bases", "kb_id", bases),
        "storage": {
            f"{place}_storage": place in places for place in ("plugin", "workspace")
        },
    }


def described(tool: Any) -> str:
    """Return what a model is told of a tool: its docstring."""
    return (getattr(tool, "__doc__", None) or "").strip() if callable(tool) else ""


def _available_apis(runner: "type[Runner]") -> dict[str, bool]:
    history, events = permitted(runner, "history"), permitted(runner, "events")
    return {
        "prompt_get": True,
        "state": True,
        "run_get": True,
        "run_events_page": True,
        "reply_stream": "call" in permitted(runner, "tools"),
        "artifact_metadata": True,
        "artifact_read": True,
        "storage": bool(permitted(runner, "storage")),
        "steering_pull": "steering" in runner.capabilities,
        "history_page": "page" in history,
        "run_list": "page" in history,
        "history_search": "search" in history,
        "event_get": "get" in events,
        "event_page": "page" in events,
    }


def _config(runner: "type[Runner]", config: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {f["name"]: f["default"] for f in runner.config if "default" in f}
    whole = {**defaults, **config}
    missing = [
        f["name"] for f in runner.config if f.get("required") and f["name"] not in whole
    ]
    if missing:
        message = f"config: {', '.join(missing)} is required by the runner's schema"
        raise ValueError(message)
    return whole
