"""Whether a host call may be made at all: every check of it, in one table.

A call is checked at two places before its handler sees it; no handler checks rights
again.

1. The web node that holds the socket (`runners.gateway.call_limits`): the run is one of
   this very connection, the frame is not too large, the plugin does not call too often.
2. The worker that owns the run (`authorize`): the run lives, is in time and does not
   call too often, and its frozen rights (`runners.access`) hold what the action's row
   in `RULES` asks for.

An action without a row is refused, so that a new handler cannot forget it. What a row
cannot say, because it takes a query (whose artifact is this, is that run in my
conversation), is part of the query itself: handlers look up rows within the run's own
workspace and conversation only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from langbot.lib.buckets import LocalBucket
from langbot.lib.conf import limits
from runners.access import Access
from runners.host_api.sizes import check_base64, check_state_value
from runners.platform_tools import PLATFORM_PREFIX, REPLY_TOOL, SEND_MESSAGE
from runners.protocol.actions import BOX_ACTIONS, Action
from runners.protocol.errors import ErrorCode, ProtocolError

CALLS_AT_ONCE: Final = 100  # of one run; the SDK allows 128 on a socket (wire 2.5)


class Facts(Protocol):
    """What a check may know of a run; `RunFacts` is one."""

    access: Access
    conversation_public_id: str
    public_id: Any
    deadline_at: datetime | None


class Check(Protocol):
    """One thing a run needs; raises ProtocolError when it has it not."""

    def __call__(self, facts: Any, data: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Api:
    """The part of the host is among the run's `available_apis`."""

    name: str

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        if not facts.access.apis.get(self.name, False):
            raise _denied(f"this run may not use {self.name}")


@dataclass(frozen=True, slots=True)
class Granted:
    """The resource that `field` names was granted for `operation`."""

    kind: str  # the field of Access: id -> operations
    field: str
    operation: str

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        name = _named(data, self.field)
        granted: dict[str, list[str]] = getattr(facts.access, self.kind)
        if not _allows(granted.get(name), self.operation):
            kind = self.kind.replace("_", " ").removesuffix("s")
            raise _denied(f"this run may not {self.operation} {kind} {name[:64]}")


@dataclass(frozen=True, slots=True)
class Storage:
    """The run has this storage: `plugin` or `workspace`."""

    place: str

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        if not getattr(facts.access, f"{self.place}_storage"):
            raise _denied(f"this run has no {self.place} storage")


@dataclass(frozen=True, slots=True)
class StateScope:
    """State of the scope that `field` names was granted."""

    field: str = "scope"

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        scope = _named(data, self.field)
        if scope not in facts.access.state_scopes:
            raise _denied(f"this run has no {scope[:30]} state")


@dataclass(frozen=True, slots=True)
class OwnConversation:
    """A conversation that the data names is the run's own; naming none means it."""

    inside: str = ""  # the member that holds `conversation_id`, if not the data itself

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        place = data.get(self.inside) if self.inside else data
        given = place.get("conversation_id") if isinstance(place, dict) else None
        if given is None or given == "":
            return
        if not isinstance(given, str):
            raise _invalid("conversation_id", "Input should be a valid string")
        if given != facts.conversation_public_id:
            raise _denied("a run reads its own conversation only")


@dataclass(frozen=True, slots=True)
class OwnRun:
    """The run that `field` names is the calling one; others do not exist to it."""

    field: str = "target_run_id"

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        if _named(data, self.field) != str(facts.public_id):
            message = "a run reads itself only"
            raise ProtocolError(ErrorCode.NOT_FOUND, message)


@dataclass(frozen=True, slots=True)
class Fits:
    """What `field` holds is not over its limit; another type is the handler's to see.

    Frames have limits of their own, for every action: `FRAME_CHARACTERS`.
    """

    field: str
    measure: Callable[[Any], None]  # raises ProtocolError `too_large`

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        self.measure(data.get(self.field))


@dataclass(frozen=True, slots=True)
class PlatformAction:
    """The tool of the platform action was granted, or it is a reply to the event."""

    def __call__(self, facts: Facts, data: dict[str, Any]) -> None:
        action = _named(data, "action")
        tool = data.get("context_tool") or f"{PLATFORM_PREFIX}{action}"
        is_reply = tool == REPLY_TOOL and action == SEND_MESSAGE
        if not is_reply and tool != f"{PLATFORM_PREFIX}{action}":
            raise _denied(f"{str(tool)[:64]} does not do {action[:64]}")
        if not _allows(facts.access.tools.get(tool), "call"):
            raise _denied(f"this run may not call tool {tool[:64]}")


_EVERY_RUN: Final[tuple[Check, ...]] = ()  # needs no more than to be alive
_STORED: Final = Fits("value_base64", check_base64)

RULES: dict[str, tuple[Check, ...]] = {
    Action.CANCEL_ACTION: _EVERY_RUN,
    Action.GET_PROMPT: (Api("prompt_get"),),
    Action.HISTORY_PAGE: (Api("history_page"), OwnConversation()),
    Action.HISTORY_SEARCH: (Api("history_search"), OwnConversation("filters")),
    Action.EVENT_GET: (Api("event_get"),),
    Action.EVENT_PAGE: (Api("event_page"), OwnConversation()),
    Action.STATE_GET: (StateScope(),),
    Action.STATE_SET: (StateScope(), Fits("value", check_state_value)),
    Action.STATE_DELETE: (StateScope(),),
    Action.STATE_LIST: (StateScope(),),
    Action.SET_PLUGIN_STORAGE: (Storage("plugin"), _STORED),
    Action.GET_PLUGIN_STORAGE: (Storage("plugin"),),
    Action.DELETE_PLUGIN_STORAGE: (Storage("plugin"),),
    Action.GET_PLUGIN_STORAGE_KEYS: (Storage("plugin"),),
    Action.SET_WORKSPACE_STORAGE: (Storage("workspace"), _STORED),
    Action.GET_WORKSPACE_STORAGE: (Storage("workspace"),),
    Action.DELETE_WORKSPACE_STORAGE: (Storage("workspace"),),
    Action.GET_WORKSPACE_STORAGE_KEYS: (Storage("workspace"),),
    Action.COUNT_TOKENS: (Granted("models", "llm_model_uuid", "count_tokens"),),
    Action.INVOKE_LLM: (Granted("models", "llm_model_uuid", "invoke"),),
    Action.INVOKE_LLM_STREAM: (Granted("models", "llm_model_uuid", "stream"),),
    Action.INVOKE_RERANK: (Granted("models", "rerank_model_uuid", "rerank"),),
    Action.INVOKE_EMBEDDING: (Granted("models", "embedding_model_uuid", "invoke"),),
    Action.GET_TOOL_DETAIL: (Granted("tools", "tool_name", "detail"),),
    Action.CALL_TOOL: (Granted("tools", "tool_name", "call"),),
    Action.RETRIEVE_KNOWLEDGE_BASE: (Granted("knowledge_bases", "kb_id", "retrieve"),),
    Action.STEERING_PULL: (Api("steering_pull"),),
    Action.REPLY_STREAM: (Api("reply_stream"),),
    Action.CALL_PLATFORM_API: (PlatformAction(),),
    # Refused with a word of their own, for there are none here.
    **dict.fromkeys(BOX_ACTIONS, _EVERY_RUN),
    Action.RUN_GET: (Api("run_get"), OwnRun()),
    Action.RUN_LIST: (Api("run_list"), OwnConversation()),
    # Another run has to be of the same conversation: the query sees to it.
    Action.RUN_EVENTS_PAGE: (Api("run_events_page"),),
    Action.RUN_CANCEL: (Api("run_cancel"),),
    Action.RUN_APPEND_RESULT: (Api("run_append_result"),),
    Action.RUN_FINALIZE: (Api("run_finalize"),),
    Action.ARTIFACT_METADATA: (Api("artifact_metadata"),),
    Action.ARTIFACT_READ: (Api("artifact_read"),),
    Action.ARTIFACT_READ_RANGE: (Api("artifact_read"),),
}

# Of a request as its plugin wrote it; JSON may write one character as six. Only what
# carries messages, documents or stored values is larger than a call needs to be.
SMALL_FRAME: Final = 256 * 1024
WHOLE_FRAME: Final = 16 * 1024 * 1024  # what the transport takes (wire 2.6)
FILE_FRAME: Final = 64 * 1024  # a slice is 16 KiB of base64 and its key (wire 2.8)
FRAME_CHARACTERS: dict[str, int] = {
    Action.FILE_CHUNK: FILE_FRAME,
    Action.STATE_SET: 2 * 1024 * 1024,
    Action.SET_PLUGIN_STORAGE: WHOLE_FRAME,
    Action.SET_WORKSPACE_STORAGE: WHOLE_FRAME,
    Action.COUNT_TOKENS: WHOLE_FRAME,
    Action.INVOKE_LLM: WHOLE_FRAME,
    Action.INVOKE_LLM_STREAM: WHOLE_FRAME,
    Action.INVOKE_RERANK: WHOLE_FRAME,
    Action.INVOKE_EMBEDDING: WHOLE_FRAME,
    Action.CALL_TOOL: 4 * 1024 * 1024,
    Action.CALL_PLATFORM_API: 4 * 1024 * 1024,
    Action.REPLY_STREAM: 2 * 1024 * 1024,
    Action.RUN_APPEND_RESULT: 8 * 1024 * 1024,
}

__all__ = ["CALLS_AT_ONCE", "FRAME_CHARACTERS", "RULES", "authorize", "check_rights"]


def authorize(run: Any, call: Any, at_once: int, bucket: LocalBucket) -> None:
    """Raise ProtocolError unless the carried run may make this call now.

    `at_once` calls of it are open, this one among them. A run may always stop its own
    calls: that takes no time and no token.
    """
    if run.log.ending is not None:
        raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "the run has ended")
    if call.action != Action.CANCEL_ACTION:
        check_pace(bucket, at_once)
        check_deadline(run.facts.deadline_at)
    check_rights(run.facts, call.action, call.data)


def check_rights(facts: Facts, action: str, data: dict[str, Any]) -> None:
    """Raise ProtocolError unless the run's frozen rights allow this call."""
    checks = RULES.get(action)
    if checks is None:
        message = f"Action {action[:100]} not found"
        raise ProtocolError(ErrorCode.ACTION_NOT_FOUND, message)
    for check in checks:
        check(facts, data)


def too_often(wait_seconds: float, message: str) -> ProtocolError:
    """Return the error of a call that has to come again; the socket stays open."""
    details = {"retry_after": round(wait_seconds, 3)}
    code = ErrorCode.RATE_LIMITED
    return ProtocolError(code, message, retryable=True, details=details)


def run_bucket() -> LocalBucket:
    """Return what bounds how often the calls of one run may come."""
    bounds = limits()
    return LocalBucket(bounds.run_calls_per_second, bounds.run_calls_burst)


def check_pace(bucket: LocalBucket, at_once: int = 1) -> None:
    """Raise `rate_limited` for a call of a run that calls too often."""
    if at_once > CALLS_AT_ONCE:
        raise too_often(1.0, f"at most {CALLS_AT_ONCE} calls of a run at once")
    wait_seconds = bucket.take()
    if wait_seconds:
        raise too_often(
            wait_seconds, f"at most {limits().run_calls_per_second} calls a second"
        )


def check_deadline(deadline: datetime | None) -> None:
    if deadline is not None and time.time() > deadline.timestamp():
        message = "the run's deadline passed"
        raise ProtocolError(ErrorCode.DEADLINE_EXCEEDED, message)


def _named(data: dict[str, Any], field: str) -> str:
    """Return what the data names under `field`; raises invalid_request."""
    if field not in data:
        raise _invalid(field, "Field required")
    value = data[field]
    if not isinstance(value, str):
        raise _invalid(field, "Input should be a valid string")
    return value


def _allows(operations: list[str] | None, operation: str) -> bool:
    """Whether a grant holds the operation; an empty one holds all (wire 5.2)."""
    return operations is not None and (not operations or operation in operations)


def _denied(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.PERMISSION_DENIED, message)


def _invalid(field: str, problem: str) -> ProtocolError:
    return ProtocolError(ErrorCode.INVALID_REQUEST, f"{field}: {problem}")
