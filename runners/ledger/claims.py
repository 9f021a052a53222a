"""Who carries a run: claim, adoption, release, by compare-and-set."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from runners.choices import EventType, RunStatus
from runners.ledger.fence import NewEvent, insert_events
from runners.models import AgentRun, WorkerNode


@dataclass(frozen=True, slots=True)
class Claim:
    """A run's start: where it will run and with what."""

    run_id: int
    connection_id: UUID
    web_node: str
    runner_id: str
    deadline_at: datetime
    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A won claim."""

    run: AgentRun
    token: int
    event: NewEvent


def claim_runs(node: UUID, claims: list[Claim]) -> dict[int, Claimed]:
    """Move queued runs to running for `node`; losers are left out of the answer."""
    wanted = {claim.run_id: claim for claim in claims}
    with transaction.atomic():
        rows = lock_rows(
            AgentRun.objects.filter(pk__in=wanted, status=RunStatus.QUEUED)
        )
        claimed = {row.pk: _start(row, node, wanted[row.pk]) for row in rows}
        _save_starts([one.run for one in claimed.values()])
        insert_events(
            [
                (one.run.pk, one.run.last_seq, one.run.invocation, one.event)
                for one in claimed.values()
            ]
        )
    return claimed


def _start(run: AgentRun, node: UUID, claim: Claim) -> Claimed:
    now = datetime.now(UTC)
    run.status = RunStatus.RUNNING
    run.status_reason = ""
    run.node = node
    run.fencing_token += 1
    run.last_seq += 1
    run.connection_id, run.web_node = claim.connection_id, claim.web_node
    run.runner_id, run.snapshot = claim.runner_id, claim.snapshot
    run.agent_version = claim.snapshot["agent"]["version"]
    run.deadline_at, run.last_active_at = claim.deadline_at, now
    run.started_at = run.started_at or now
    data = {"runner": claim.runner_id, "agent_version": run.agent_version}
    return Claimed(run, run.fencing_token, NewEvent(EventType.RUN_STARTED, data))


_START_FIELDS = [
    "status",
    "status_reason",
    "node",
    "fencing_token",
    "last_seq",
    "connection_id",
    "web_node",
    "runner_id",
    "snapshot",
    "agent_version",
    "deadline_at",
    "last_active_at",
    "started_at",
]


def _save_starts(runs: list[AgentRun]) -> None:
    for run in runs:
        values = {name: getattr(run, name) for name in _START_FIELDS}
        AgentRun.objects.filter(pk=run.pk).update(**values)


def adoptable_runs(limit: int) -> list[int]:
    """Return running runs whose worker released them or is silent for 6 s."""
    return list(_adoptable().order_by("pk").values_list("pk", flat=True)[:limit])


def adopt_runs(run_ids: list[int], node: UUID) -> list[Claimed]:
    """Take over those of the runs that are adoptable now."""
    with transaction.atomic():
        runs = lock_rows(_adoptable().filter(pk__in=run_ids))
        AgentRun.objects.filter(pk__in=[run.pk for run in runs]).update(
            node=node,
            fencing_token=F("fencing_token") + 1,
            last_seq=F("last_seq") + 1,
        )
        adopted = [_adopt(run, node) for run in runs]
        insert_events(
            [
                (one.run.pk, one.run.last_seq, one.run.invocation, one.event)
                for one in adopted
            ]
        )
    return adopted


def _adopt(run: AgentRun, node: UUID) -> Claimed:
    run.node = node
    run.fencing_token += 1
    run.last_seq += 1
    return Claimed(run, run.fencing_token, NewEvent(EventType.RUN_ADOPTED, {}))


def carried_runs(node: UUID) -> set[int]:
    """Return the runs that the ledger says `node` carries."""
    rows = AgentRun.objects.filter(status=RunStatus.RUNNING, node=node)
    return set(rows.values_list("pk", flat=True))


def release_runs(node: UUID, run_ids: Collection[int] | None = None) -> int:
    """Give up these runs of a worker, or all when it drains; adopters take them."""
    rows = AgentRun.objects.filter(node=node, status=RunStatus.RUNNING)
    if run_ids is not None:
        rows = rows.filter(pk__in=run_ids)
    return rows.update(node=None)


def start_node(name: str) -> WorkerNode:
    """Register one incarnation of a worker process."""
    return WorkerNode.objects.create(
        name=name[:200], started_at=Now(), heartbeat_at=Now()
    )


def beat(node: UUID) -> None:
    """Say that the node lives, by the database's clock."""
    WorkerNode.objects.filter(public_id=node).update(heartbeat_at=Now())


def stop_node(node: UUID) -> None:
    """Say that the node ended in order."""
    WorkerNode.objects.filter(public_id=node).update(stopped_at=Now())


def prune_nodes() -> int:
    """Remove nodes that ended or fell silent a day ago."""
    old = Now() - timedelta(days=1)
    return WorkerNode.objects.filter(heartbeat_at__lt=old).delete()[0]


def _adoptable() -> QuerySet[AgentRun]:
    return AgentRun.objects.filter(status=RunStatus.RUNNING).filter(
        Q(node=None) | ~Q(node__in=_alive_nodes().values("public_id"))
    )


def _alive_nodes() -> Any:
    dead_before = Now() - timedelta(seconds=limits().node_dead_seconds)
    return WorkerNode.objects.filter(heartbeat_at__gte=dead_before, stopped_at=None)
