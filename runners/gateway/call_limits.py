"""What a host call is checked for at its socket, before the run's worker sees it.

See `runners.host_api.authorization` for what each of the two checks.
"""

from typing import Final

from agents.registry.connections import Registered, workspace_id_of
from langbot.lib.buckets import LocalBucket
from langbot.lib.conf import limits
from langbot.lib.ids import read_uuid
from runners.host_api.authorization import (
    FRAME_CHARACTERS,
    SMALL_FRAME,
    too_often,
)
from runners.host_api.refusals import RefusalCounter
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Request

_RUNS_COUNTED: Final = 200  # different refusals of one socket between two writes
# A plugin may always stop what it has begun, and show that it lives: both cost nothing.
_FREE: Final = frozenset({Action.CANCEL_ACTION, Action.PING})


class CallLimits:
    """What one plugin socket may ask of the host: how much and how often.

    Used on the web node's loop only; asks nobody else.
    """

    def __init__(self) -> None:
        bounds = limits()
        self.refusals = RefusalCounter(_RUNS_COUNTED)
        self._bucket = LocalBucket(
            bounds.plugin_calls_per_second, bounds.plugin_calls_burst
        )

    def check(self, request: Request, characters: int) -> None:
        """Raise ProtocolError for a call that comes too often or is too large."""
        if request.action in _FREE:
            return
        wait_seconds = self._bucket.take()
        if wait_seconds:
            bound = limits().plugin_calls_per_second
            raise too_often(wait_seconds, f"at most {bound} calls a second")
        bound = FRAME_CHARACTERS.get(request.action, SMALL_FRAME)
        if characters > bound:
            message = f"{request.action[:100]}: at most {bound} characters"
            raise ProtocolError(ErrorCode.TOO_LARGE, message)

    def count_refusal(
        self, request: Request, error: ProtocolError, caller: Registered | None
    ) -> None:
        """Count a refused call on the run that it named, whoever's that is."""
        run_id = read_uuid(request.data.get("run_id"))
        if run_id is None:
            return
        plugin = caller.plugin if caller is not None else ""
        workspace = workspace_id_of(caller) if caller is not None else None
        self.refusals.add(run_id, request.action, error.code, plugin, workspace)
