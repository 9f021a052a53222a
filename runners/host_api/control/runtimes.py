"""Remote runtimes and the runners there are, for the control plane."""

from typing import Any

from django.db.models import Q
from pydantic import ConfigDict, Field

from agents.models import RunnerDescriptor
from agents.registry.connections import online_runner_ids
from langbot.lib.conf import limits
from runners.host_api.calls import CallData
from runners.host_api.control.calls import Document
from runners.host_api.cursors import NO_END, key_of, page_of
from runners.host_api.runs import epoch
from runners.models import RemoteRuntime
from runners.runtimes import leases, registry
from runners.runtimes.callers import Caller

_LABELS = 50  # of one runtime, and of one question


class Labelled(CallData):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class HeartbeatRequest(Labelled):
    runtime_id: str = Field(min_length=1, max_length=200)
    status: str = Field(default="online", min_length=1, max_length=20)
    capabilities: Document | None = None
    labels: dict[str, str] | None = Field(default=None, max_length=_LABELS)
    metadata: Document | None = None
    heartbeat_deadline_at: float | None = None


class RegisterRequest(HeartbeatRequest):
    display_name: str | None = Field(default=None, max_length=200)
    endpoint: str | None = Field(default=None, max_length=500)
    version: str | None = Field(default=None, max_length=50)


class RuntimesRequest(Labelled):
    statuses: list[str] | None = Field(default=None, max_length=20)
    labels: dict[str, str] = Field(default={}, max_length=_LABELS)
    cursor: str | int | None = None
    limit: int = Field(default=50, ge=1)


class ReconcileRequest(CallData):
    stale_after_seconds: float | None = Field(default=None, gt=0, le=86_400)


class RunnersRequest(CallData):
    include_plugins: list[str] | None = Field(default=None, max_length=1000)


def runtime_register(caller: Caller, data: RegisterRequest) -> dict[str, Any]:
    """Create a runtime, or renew the one of this id."""
    return _wire(registry.register(caller, data.runtime_id, *_details(data)))


def runtime_heartbeat(caller: Caller, data: HeartbeatRequest) -> dict[str, Any]:
    """Say that a runtime is there; not_found tells it to register."""
    return _wire(registry.heartbeat(caller, data.runtime_id, *_details(data)))


def runtime_list(caller: Caller, data: RuntimesRequest) -> dict[str, Any]:
    """Return runtimes of the workspace, newest first."""
    rows = registry.listed(caller, data.statuses, data.labels)
    limit = min(data.limit, limits().history_page)
    page = rows.filter(pk__lt=key_of(data.cursor, NO_END)).order_by("-pk")
    found = list(page[: limit + 1])
    items = [{"id": row.pk, **_wire(row)} for row in found[:limit]]
    has_more = len(found) > limit
    return page_of(items, has_more=has_more, total_count=rows.count(), name="id")


def runtime_reconcile(caller: Caller, data: ReconcileRequest) -> dict[str, Any]:
    """Take the runs of silent runtimes now; returns their ids and how many runs.

    Without `stale_after_seconds` a runtime is silent when its heartbeat is overdue,
    and loses the runs whose lease is over; with it, all that it holds.
    """
    stale, taken = leases.reconcile(caller, data.stale_after_seconds)
    return {"stale_runtimes": stale, "requeued_runs": taken}


def runner_list(caller: Caller, data: RunnersRequest) -> dict[str, Any]:
    """Return the runners that serve the workspace, of these plugins or of all."""
    rows = RunnerDescriptor.objects.order_by("runner_id")
    if caller.workspace_id is not None:
        rows = rows.filter(Q(workspace=caller.workspace_id) | Q(workspace=None))
    if data.include_plugins is not None:
        rows = rows.filter(plugin__in=data.include_plugins)
    online = online_runner_ids()
    return {"items": [_runner(row, online) for row in rows]}


def _details(data: HeartbeatRequest) -> tuple[dict[str, Any], float | None]:
    details = data.model_dump(exclude={"runtime_id", "heartbeat_deadline_at"})
    return details, data.heartbeat_deadline_at


def _wire(runtime: RemoteRuntime) -> dict[str, Any]:
    return {
        "runtime_id": runtime.runtime_id,
        "status": registry.wire_status(runtime),
        "display_name": runtime.display_name or None,
        "endpoint": runtime.endpoint or None,
        "version": runtime.version or None,
        "capabilities": runtime.capabilities,
        "labels": runtime.labels,
        "metadata": runtime.metadata,
        "last_heartbeat_at": epoch(runtime.heartbeat_at),
        "heartbeat_deadline_at": epoch(runtime.heartbeat_deadline_at),
        "created_at": epoch(runtime.created_at),
        "updated_at": epoch(runtime.heartbeat_at),
    }


def _runner(row: RunnerDescriptor, online: set[str]) -> dict[str, Any]:
    author, _, plugin = row.plugin.partition("/")
    return {
        "runner_id": row.runner_id,
        "id": row.runner_id,
        "plugin_author": author,
        "plugin_name": plugin,
        "runner_name": row.runner_id.rpartition("/")[2],
        "label": row.label,
        "description": row.description,
        "version": row.version,
        "kind": row.kind,
        "usages": row.usages,
        "supported_event_patterns": row.event_patterns,
        "capabilities": row.capabilities,
        "permissions": row.permissions,
        "config_schema": row.config_schema,
        "enabled": row.enabled,
        "online": row.runner_id in online,
        "last_error": row.last_error or None,
    }
