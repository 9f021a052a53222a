"""run_cancel, run_append_result, run_finalize of a run (`wire.md` §6).

A run does them to itself. Others of its conversation are seen by the right to read
them; they have ended, so that there is nothing to cancel, add or end.
"""

from collections.abc import Callable
from typing import Any, Literal

from runners.engine.results import ResultLog
from runners.host_api.calls import CallData, HostCall, journalled
from runners.host_api.events_runs import readable, wire_event
from runners.host_api.runs import wire_run
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import encode
from runners.runtimes.endings import apply_ending
from runners.services import request_cancel


class CancelRequest(CallData):
    target_run_id: str
    reason: str | None = None


class AppendRequest(CallData):
    target_run_id: str
    result: dict[str, Any]


class FinalizeRequest(CallData):
    target_run_id: str
    status: Literal["completed", "failed", "cancelled", "timeout"] | None = None
    reason: str | None = None


async def run_cancel(call: HostCall) -> dict[str, Any]:
    """Ask for the end of a run, once; one that has ended stays as it is."""
    data = call.read(CancelRequest)
    run_id = await call.database(readable, call, data.target_run_id)

    async def effect() -> dict[str, Any]:
        return await call.database(_cancel, run_id, data.reason or "")

    return await journalled(call, effect)


async def run_append_result(call: HostCall) -> dict[str, Any]:
    """Add a result to the run's ledger, once, by the rules of streamed ones.

    Returns the last event it made, a `warning` for an invalid one. The result's number
    says nothing here.
    """
    data = call.read(AppendRequest)
    await _check_own(call, data.target_run_id)
    size = len(encode(data.result))

    def apply(log: ResultLog) -> None:
        log.apply({**data.result, "sequence": log.last_sequence + 1}, size)

    async def effect() -> dict[str, Any]:
        return await _add(call, apply)

    return await journalled(call, effect)


async def run_finalize(call: HostCall) -> dict[str, Any]:
    """End the run, once; `completed` by the rules of `run.completed`."""
    data = call.read(FinalizeRequest)
    await _check_own(call, data.target_run_id)

    def apply(log: ResultLog) -> None:
        apply_ending(log, data.status or "completed", data.reason or "")

    async def effect() -> dict[str, Any]:
        await _add(call, apply)
        return await call.database(wire_run, call.facts.pk)

    return await journalled(call, effect)


def _cancel(run_id: int, reason: str) -> dict[str, Any]:
    request_cancel(AgentRun.objects.get(pk=run_id), reason)
    return wire_run(run_id)


async def _check_own(call: HostCall, run_id: str) -> None:
    """Raise unless the run is the calling one: not_found or run.not_active."""
    if await call.database(readable, call, run_id) != call.facts.pk:
        raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "the run has ended")


async def _add(call: HostCall, apply: Callable[[ResultLog], None]) -> dict[str, Any]:
    if call.results is None:
        message = "no worker carries the run"
        raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, message)
    written = await call.results.add(apply)
    if written is None:
        message = "the result has nothing to write"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message)
    return wire_event(*written, str(call.facts.public_id))
