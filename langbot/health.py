"""`/healthz`: this process serves. `/readyz`: the host can do its work."""

import logging
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils.log import log_response

from agents.choices import ConnectionStatus
from agents.models import PluginConnection
from langbot.lib.redis import FAILURES, node_alive, quick_client
from runners.models import WorkerNode

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2
# Migrations that were applied stay applied for as long as this code runs.
_seen = {"migrated": False}


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 whenever the process serves requests; touches nothing else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database and migrations are fine; `?full=1` needs the rest too.

    503 otherwise, with Retry-After. `status` is `ok`, `degraded` or `unavailable`.
    """
    checks = {"database": _database(), "migrations": False}
    if checks["database"]:
        checks["migrations"] = _migrations()
    base = all(checks.values())
    checks["redis"] = _redis()
    checks["workers"] = base and _workers()
    checks["plugins"] = base and checks["redis"] and _plugins()
    everything = all(checks.values())
    ready = everything if _wants_all(request) else base
    status = "ok" if everything else "degraded" if base else "unavailable"
    answer: dict[str, Any] = {"status": status}
    answer |= {name: "ok" if fine else "down" for name, fine in checks.items()}
    response = JsonResponse(answer, status=200 if ready else 503)
    if not ready:
        response["Retry-After"] = str(RETRY_SECONDS)
        # Django would log any 5xx as an error, with every question of a prober.
        log_response(
            "not ready: %s", status, response=response, logger=logger, level="warning"
        )
    response["Cache-Control"] = "no-store"
    return response


def _wants_all(request: HttpRequest) -> bool:
    return request.GET.get("full", "") in {"1", "true", "yes"}


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() is not None
    except DatabaseError:
        if not connection.in_atomic_block:
            connection.close()  # the next question gets a fresh one
        return False


def _migrations() -> bool:
    if not _seen["migrated"]:
        try:
            executor = MigrationExecutor(connection)
            targets = executor.loader.graph.leaf_nodes()
            _seen["migrated"] = not executor.migration_plan(targets)
        except DatabaseError:
            return False
    return _seen["migrated"]


def _redis() -> bool:
    try:
        return bool(quick_client().ping())
    except FAILURES:
        return False


def _workers() -> bool:
    try:
        return WorkerNode.objects.alive().exists()
    except DatabaseError:
        return False


def _plugins() -> bool:
    """A row may outlive its web process; the process's heartbeat may not."""
    nodes = (
        PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
        .order_by()
        .values_list("web_node", flat=True)
        .distinct()
    )
    try:
        keys = [node_alive(node) for node in nodes]
        return bool(keys) and int(quick_client().exists(*keys)) > 0
    except (DatabaseError, *FAILURES):
        return False
