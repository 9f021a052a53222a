"""Remote runtimes: register, heartbeat, list."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Now

from runners.choices import RunStatus
from runners.models import AgentRun, RemoteRuntime
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.runtimes.callers import Caller

STALE = "stale"  # what the wire calls a runtime whose heartbeat is overdue
HEARTBEAT_SECONDS = 60  # until the next one, where a runtime names no time
LONGEST_HEARTBEAT_SECONDS = 3600
RUNTIMES_OF_A_WORKSPACE = 1000
GONE_DAYS = 30  # how long admins see that a runtime was here

_DETAILS = ("endpoint", "version", "capabilities", "labels", "metadata", "status")


def register(
    caller: Caller, runtime_id: str, details: dict[str, Any], deadline: float | None
) -> RemoteRuntime:
    """Create or renew a runtime's row; `details` are its columns, None for the rest.

    `deadline` is when the next heartbeat is due, in epoch seconds. Raises
    rate_limited when the workspace has 1,000 runtimes.
    """
    given = {
        name: value
        for name, value in details.items()
        if value is not None and name in (*_DETAILS, "display_name")
    }
    values = {**given, **_presence(caller, deadline)}
    if not _rows(caller, runtime_id).update(**values):
        _check_number(caller)
        try:
            RemoteRuntime.objects.create(
                workspace_id=caller.workspace_id, runtime_id=runtime_id, **values
            )
        except IntegrityError:  # another connection was as quick
            _rows(caller, runtime_id).update(**values)
    return caller.runtime(runtime_id)


def heartbeat(
    caller: Caller, runtime_id: str, details: dict[str, Any], deadline: float | None
) -> RemoteRuntime:
    """Say that a runtime is there; raises not_found for an unknown one."""
    caller.runtime(runtime_id)
    return register(caller, runtime_id, details, deadline)


def listed(
    caller: Caller, statuses: list[str] | None, labels: dict[str, str]
) -> QuerySet[RemoteRuntime]:
    """Return the caller's runtimes that have one of the statuses and all labels."""
    rows = caller.within(RemoteRuntime.objects.all())
    if statuses:
        said = Q(status__in=statuses, heartbeat_deadline_at__gte=Now())
        overdue = Q(heartbeat_deadline_at__lt=Now())
        rows = rows.filter(said | overdue if STALE in statuses else said)
    for number, (name, value) in enumerate(sorted(labels.items())):
        alias = f"label_{number}"
        label = Cast(KeyTextTransform(name, "labels"), TextField())
        rows = rows.alias(**{alias: label})
        rows = rows.filter(**{alias: value})
    return rows


def wire_status(runtime: RemoteRuntime) -> str:
    """Return what a runtime says of itself, or `stale` when its heartbeat is due."""
    is_stale = runtime.heartbeat_deadline_at < datetime.now(UTC)
    return STALE if is_stale else runtime.status


def present(rows: QuerySet[RemoteRuntime]) -> QuerySet[RemoteRuntime]:
    """Keep the runtimes whose heartbeat is not overdue."""
    return rows.filter(heartbeat_deadline_at__gte=Now())


def may_be_taken() -> Exists:
    """Return the condition of a queued run that a runtime is there for."""
    places = Q(workspace=OuterRef("workspace")) | Q(workspace=None)
    return Exists(present(RemoteRuntime.objects.filter(places)))


def runtime_ids(runs: list[AgentRun]) -> dict[UUID, str]:
    """Return the runtime ids by node; asks nothing where no run is held remotely."""
    held = [run for run in runs if run.claim_lease_expires_at is not None]
    nodes = {run.node for run in held if run.node is not None}
    if not nodes:
        return {}
    rows = RemoteRuntime.objects.filter(public_id__in=nodes)
    return dict(rows.values_list("public_id", "runtime_id"))


def purge_gone() -> int:
    """Delete runtimes silent for 30 days; they hold nothing, their leases are over."""
    before = Now() - timedelta(days=GONE_DAYS)
    holding = AgentRun.objects.filter(status=RunStatus.RUNNING, node__isnull=False)
    silent = RemoteRuntime.objects.filter(heartbeat_deadline_at__lt=before)
    return silent.exclude(public_id__in=holding.values("node")).delete()[0]


def _presence(caller: Caller, deadline: float | None) -> dict[str, Any]:
    seconds = float(HEARTBEAT_SECONDS)
    if deadline is not None:
        wanted = deadline - time.time()
        seconds = min(max(wanted, 1.0), float(LONGEST_HEARTBEAT_SECONDS))
    return {
        "token_id": caller.token_id,
        "plugin": caller.plugin,
        "connection_id": caller.connection_id,
        "heartbeat_at": Now(),
        "heartbeat_deadline_at": Now() + timedelta(seconds=seconds),
    }


def _rows(caller: Caller, runtime_id: str) -> QuerySet[RemoteRuntime]:
    rows = RemoteRuntime.objects.filter(runtime_id=runtime_id)
    return rows.filter(workspace=caller.workspace_id)


def _check_number(caller: Caller) -> None:
    rows = RemoteRuntime.objects.filter(workspace=caller.workspace_id)
    if rows.count() >= RUNTIMES_OF_A_WORKSPACE:
        message = f"a workspace has at most {RUNTIMES_OF_A_WORKSPACE} runtimes"
        raise ProtocolError(ErrorCode.RATE_LIMITED, message)
