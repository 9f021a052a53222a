"""Host calls of a run, typed (`wire.md` §6).

The host checks every call against what the run may use; a refusal is a
`HostCallError` with its code.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from runners.protocol.actions import Action, call_seconds
from runners.protocol.errors import ErrorCode
from runners.sdk.answers import HostVersion, ModelAnswer, ModelChunk
from runners.sdk.calls import Caller, HostCallError, required
from runners.sdk.conversation import ConversationCalls
from runners.sdk.files import BoxCalls, FileCalls
from runners.sdk.keeping import KeepingCalls
from runners.sdk.models import ModelCalls
from runners.sdk.replies import ReplyCalls
from runners.sdk.runs import RunCalls
from runners.sdk.tools import ToolCalls

__all__ = [
    "Caller",
    "HostApi",
    "HostCallError",
    "HostVersion",
    "ModelAnswer",
    "ModelChunk",
]


@dataclass(frozen=True, slots=True)
class HostApi(
    ConversationCalls,
    KeepingCalls,
    FileCalls,
    BoxCalls,
    RunCalls,
    ModelCalls,
    ToolCalls,
    ReplyCalls,
):
    """The calls of one run. `deadline_at` (epoch seconds) cuts every wait."""

    run_id: str
    caller: Caller
    deadline_at: float | None = None

    async def call(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make any host call of this run and return its data."""
        request = {"run_id": self.run_id, **(data or {})}
        return await self.caller.call(action, request, self._seconds(action))

    def stream(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any]]:
        """Make any streaming host call of this run and yield the data of its parts."""
        request = {"run_id": self.run_id, **(data or {})}
        return self.caller.stream(action, request, self._seconds(action))

    async def get_langbot_version(self) -> HostVersion:
        action = Action.GET_LANGBOT_VERSION
        data = await self.caller.call(action, {}, self._seconds(action))
        features = data.get("api_features")
        return HostVersion(
            str(required(data, "version", action)),
            [str(item) for item in features] if isinstance(features, list) else [],
        )

    def _seconds(self, action: str) -> float:
        seconds = call_seconds(action)
        if self.deadline_at is None:
            return seconds
        left = self.deadline_at - time.time()
        if left <= 0:
            message = f"the run's deadline has passed before {action}"
            raise HostCallError(ErrorCode.DEADLINE_EXCEEDED, message, retryable=True)
        # The run's own time-out comes first and names the reason.
        return min(seconds, left + 1)
