"""The host in memory: it answers the calls of one run from what a test gave."""

import base64
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Response, parse_frame
from runners.sdk.calls import HostCallError
from runners.sdk.replies import REPLY_TOOL
from runners.sdk.testing.conversation import GivenConversation
from runners.sdk.testing.given import RETRIEVAL, TOOL_CALLING, Given, permitted
from runners.sdk.testing.models import ScriptedModels
from runners.sdk.testing.tools import GivenTools

if TYPE_CHECKING:
    from runners.sdk.runner import Runner

Data = dict[str, Any]

# What a call takes; a call that is not here takes nothing.
_PERMISSIONS: Final[dict[str, tuple[str, str]]] = {
    Action.HISTORY_PAGE: ("history", "page"),
    Action.HISTORY_SEARCH: ("history", "search"),
    Action.RUN_LIST: ("history", "page"),
    Action.EVENT_GET: ("events", "get"),
    Action.EVENT_PAGE: ("events", "page"),
    Action.COUNT_TOKENS: ("models", "count_tokens"),
    Action.INVOKE_LLM: ("models", "invoke"),
    Action.INVOKE_LLM_STREAM: ("models", "stream"),
    Action.INVOKE_RERANK: ("models", "rerank"),
    Action.INVOKE_EMBEDDING: ("models", "invoke"),
    Action.GET_TOOL_DETAIL: ("tools", "detail"),
    Action.CALL_TOOL: ("tools", "call"),
    Action.CALL_PLATFORM_API: ("tools", "call"),
    Action.REPLY_STREAM: ("tools", "call"),
    Action.RETRIEVE_KNOWLEDGE_BASE: ("knowledge_bases", "retrieve"),
}
_CAPABILITIES: Final[dict[str, str]] = {
    Action.GET_TOOL_DETAIL: TOOL_CALLING,
    Action.CALL_TOOL: TOOL_CALLING,
    Action.RETRIEVE_KNOWLEDGE_BASE: RETRIEVAL,
    Action.STEERING_PULL: "steering",
}
_STORAGE: Final = {
    f"{verb}_{place}_storage{suffix}": place
    for place in ("plugin", "workspace")
    for verb, suffix in (("set", ""), ("get", ""), ("delete", ""), ("get", "_keys"))
}


@dataclass(frozen=True, slots=True)
class HostCallMade:
    """One call of the runner, with the data it sent."""

    action: str
    data: Mapping[str, Any]


@dataclass
class MemoryHost:
    """Answers calls and collects results; both ends of a connection without a socket.

    A call that the runner's permissions do not cover is refused as the host refuses it.
    """

    runner: "type[Runner]"
    context: Data
    given: Given
    calls: list[HostCallMade] = field(default_factory=list)
    results: list[Data] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    state: dict[str, Data] = field(default_factory=dict)
    storage: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = {
            scope: dict(kept) for scope, kept in self.context["state"].items()
        }
        self.storage = {"plugin": dict(self.given.get("storage", {})), "workspace": {}}
        self._streams: dict[str, str] = {}
        self._said = GivenConversation(self.context, self.given, self.results)
        self._models = ScriptedModels(self.given.get("models", {}))
        self._tools = GivenTools(
            self.given.get("tools", {}), self.given.get("knowledge", {})
        )

    # The connection

    async def call(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        request = dict(data)
        self.calls.append(HostCallMade(str(action), request))
        if (given := self.given.get("calls", {}).get(action)) is not None:
            return given(request)
        self._check(action, request)
        if action in _STORAGE:
            return self._storage_call(action, request)
        if (answer := self._tools.answer(action)) is not None and not _is_reply(
            request
        ):
            return await answer(request)
        if (answer := self._models.answer(action)) is not None:
            return await answer(request)
        if (plain := self._answers().get(action)) is not None:
            return plain(request)
        message = f'nothing is given for {action}; give calls={{"{action}": …}}'
        raise HostCallError(ErrorCode.UNAVAILABLE, message)

    async def stream(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> AsyncGenerator[dict[str, Any]]:
        request = dict(data)
        self.calls.append(HostCallMade(str(action), request))
        self._check(action, request)
        async for chunk in self._models.stream(request):
            yield chunk

    def send(self, frame: bytes) -> None:
        response = parse_frame(frame)
        if isinstance(response, Response) and not response.is_end:
            self._take(response.data)

    async def send_result(self, frame: bytes) -> None:
        self.send(frame)

    def _take(self, result: Data) -> None:
        self.results.append(result)
        data = result["data"]
        if result["type"] == "state.updated":
            self.state.setdefault(data["scope"], {})[data["key"]] = data["value"]

    def _check(self, action: str, request: Data) -> None:
        needed = _PERMISSIONS.get(action)
        if action in _STORAGE:
            needed = ("storage", _STORAGE[action])
        if needed is not None and needed[1] not in permitted(self.runner, needed[0]):
            raise _denied(f'{action} takes permissions["{needed[0]}"]: "{needed[1]}"')
        capability = None if _is_reply(request) else _CAPABILITIES.get(action)
        if capability and capability not in self.runner.capabilities:
            raise _denied(f'{action} takes the capability "{capability}"')

    # Answers

    def _answers(self) -> dict[str, Callable[[Data], Data]]:
        said = self._said
        return {
            Action.GET_LANGBOT_VERSION: lambda _: {"version": "test"},
            Action.GET_PROMPT: lambda _: {"prompt": list(self.given.get("prompt", ()))},
            Action.STATE_GET: self._state_get,
            Action.STATE_SET: self._state_set,
            Action.STATE_DELETE: self._state_delete,
            Action.STATE_LIST: self._state_list,
            Action.HISTORY_PAGE: said.history_page,
            Action.HISTORY_SEARCH: said.history_search,
            Action.EVENT_GET: lambda _: said.event(),
            Action.EVENT_PAGE: lambda _: {"items": [said.event()], "total_count": 1},
            Action.RUN_GET: lambda _: said.run(),
            Action.RUN_LIST: lambda _: {"items": [said.run()], "total_count": 1},
            Action.RUN_EVENTS_PAGE: lambda _: {"items": said.ledger()},
            Action.STEERING_PULL: said.steering_pull,
            Action.ARTIFACT_METADATA: said.artifact_metadata,
            Action.ARTIFACT_READ: said.artifact_read,
            Action.ARTIFACT_READ_RANGE: said.artifact_read,
            Action.CALL_TOOL: self._reply,
            Action.CALL_PLATFORM_API: self._platform,
            Action.REPLY_STREAM: self._reply_stream,
        }

    def _state_get(self, data: Data) -> Data:
        return {"value": self.state.get(data["scope"], {}).get(data["key"])}

    def _state_set(self, data: Data) -> Data:
        self.state.setdefault(data["scope"], {})[data["key"]] = data["value"]
        return {"success": True}

    def _state_delete(self, data: Data) -> Data:
        kept = self.state.get(data["scope"], {})
        return {"success": kept.pop(data["key"], _NOTHING) is not _NOTHING}

    def _state_list(self, data: Data) -> Data:
        prefix, limit = data["prefix"] or "", data["limit"]
        kept = self.state.get(data["scope"], {})
        keys = sorted(key for key in kept if key.startswith(prefix))
        return {"keys": keys[:limit], "has_more": len(keys) > limit}

    def _storage_call(self, action: str, data: Data) -> Data:
        kept = self.storage[_STORAGE[action]]
        if action.endswith("_keys"):
            return {"keys": sorted(kept)}
        key = data["key"]
        if action.startswith("set_"):
            kept[key] = base64.b64decode(data["value_base64"])
            return {}
        if key not in kept:
            raise HostCallError(ErrorCode.NOT_FOUND, f"there is no {key}")
        if action.startswith("delete_"):
            del kept[key]
            return {}
        return {"value_base64": base64.b64encode(kept[key]).decode()}

    def _reply(self, data: Data) -> Data:
        self.replies.append(str(data["parameters"].get("text", "")))
        return {"result": {}}

    def _platform(self, data: Data) -> Data:
        if data.get("context_tool") != REPLY_TOOL:
            message = 'no platform is given; give calls={"call_platform_api": …}'
            raise HostCallError(ErrorCode.UNAVAILABLE, message)
        parts = data["params"]["message"]
        self.replies.append("".join(str(part.get("text", "")) for part in parts))
        return {"result": {}}

    def _reply_stream(self, data: Data) -> Data:
        self._streams[data["stream_id"]] = data["text"]
        if data["operation"] == "finish":
            self.replies.append(data["text"])
        return {"result": {}}


def _is_reply(data: Data) -> bool:
    return data.get("tool_name") == REPLY_TOOL


def _denied(message: str) -> HostCallError:
    return HostCallError(ErrorCode.PERMISSION_DENIED, message)


_NOTHING: Final = object()
