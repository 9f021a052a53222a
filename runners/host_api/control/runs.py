"""Runs, for the control plane: look, cancel, claim, and carry what was claimed."""

from typing import Any, Literal

from pydantic import Field

from runners.host_api.calls import CallData
from runners.host_api.control.calls import Document, Lease
from runners.host_api.events_runs import (
    EventsRequest,
    RunsRequest,
    events_page,
    run_page,
    wire_run_event,
)
from runners.host_api.runs import wire_run
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes import leases, results
from runners.runtimes.callers import Caller
from runners.runtimes.claim_tokens import TOKEN_CHARACTERS, claim_token
from runners.services import request_cancel

_TOKEN = Field(default=None, max_length=TOKEN_CHARACTERS)


class TargetRequest(CallData):
    target_run_id: str


class CancelRequest(TargetRequest):
    reason: str | None = None


class AppendRequest(TargetRequest):
    result: dict[str, Any]
    claim_token: str | None = _TOKEN


class FinalizeRequest(TargetRequest):
    status: Literal["completed", "failed", "cancelled", "timeout"] = "completed"
    reason: str | None = None
    usage: Document | None = None
    claim_token: str | None = _TOKEN


class ClaimRequest(CallData):
    runtime_id: str
    queue_name: str | None = None
    lease_seconds: Lease = 60
    runner_ids: list[str] | None = Field(default=None, max_length=1000)


class HeldRequest(TargetRequest):
    runtime_id: str
    claim_token: str = Field(max_length=TOKEN_CHARACTERS)


class RenewRequest(HeldRequest):
    lease_seconds: Lease = 60


class ReleaseRequest(HeldRequest):
    reason: str | None = None


def run_get(caller: Caller, data: TargetRequest) -> dict[str, Any]:
    """Return a run of the workspace."""
    return wire_run(caller.run(data.target_run_id).pk)


def run_list(caller: Caller, data: RunsRequest) -> dict[str, Any]:
    """Return runs of the workspace, or of one conversation of it."""
    rows = caller.within(AgentRun.objects.all())
    return run_page(caller.of_conversation(rows, data.conversation_id), data)


def run_events_page(caller: Caller, data: EventsRequest) -> dict[str, Any]:
    """Return a page of a run's ledger."""
    return events_page(caller.run(data.target_run_id).pk, data)


def run_cancel(caller: Caller, data: CancelRequest) -> dict[str, Any]:
    """Cancel a run, whoever carries it; one that has ended stays as it is."""
    run = caller.run(data.target_run_id)
    request_cancel(AgentRun.objects.get(pk=run.pk), data.reason or "")
    return wire_run(run.pk)


def run_append_result(caller: Caller, data: AppendRequest) -> dict[str, Any]:
    """Write a result of a claimed run; returns its last event in the ledger."""
    target = results.Target(caller, data.target_run_id, data.claim_token)
    event = results.append_result(target, data.result)
    return wire_run_event(event, data.target_run_id)


def run_finalize(caller: Caller, data: FinalizeRequest) -> dict[str, Any]:
    """End a claimed run."""
    target = results.Target(caller, data.target_run_id, data.claim_token)
    results.finalize(target, data.status, data.reason or "", data.usage)
    return wire_run(caller.run(data.target_run_id).pk)


def run_claim(caller: Caller, data: ClaimRequest) -> dict[str, Any]:
    """Take the next queued run; not_found when none waits.

    `metadata.langbot` of the answer holds what starts a runner: `runner_name` and
    `context`, as in a run request (wire 5).
    """
    held = leases.claim_next(
        caller,
        caller.runtime(data.runtime_id),
        data.lease_seconds,
        queue=data.queue_name,
        runner_ids=data.runner_ids,
    )
    if held is None:
        message = "no queued run waits for this runtime"
        raise ProtocolError(ErrorCode.NOT_FOUND, message, retryable=True)
    run, request = held
    answer = _held(run.pk)
    answer["metadata"] = {**(answer["metadata"] or {}), "langbot": request}
    return answer


def run_renew_claim(caller: Caller, data: RenewRequest) -> dict[str, Any]:
    """Lengthen a lease; conflict when it is over or somebody else's."""
    run = caller.run(data.target_run_id)
    held = leases.holding(caller, run, data.claim_token)
    held = held.filter(node=caller.runtime(data.runtime_id).public_id)
    if not leases.renew(caller, held, data.lease_seconds):
        raise leases.lost()
    return _held(run.pk)


def run_release_claim(caller: Caller, data: ReleaseRequest) -> dict[str, Any]:
    """Queue a claimed run again; conflict when it is somebody else's."""
    run = caller.run(data.target_run_id)
    held = leases.holding(caller, run, data.claim_token)
    held = held.filter(node=caller.runtime(data.runtime_id).public_id)
    if leases.give_back(held, "released", data.reason or "") is None:
        raise leases.lost()
    return wire_run(run.pk)


def _held(run_id: int) -> dict[str, Any]:
    """Return a run with the token of its claim, for its holder."""
    run = AgentRun.objects.only("public_id", "fencing_token").get(pk=run_id)
    return {**wire_run(run_id), "claim_token": claim_token(run)}
