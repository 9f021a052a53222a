"""Who carries a run: claim, adoption, release, by compare-and-set."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from langbot.lib.cursors import execute_returning
from langbot.lib.models import lock_rows
from runners.choices import EventType, RunStatus
from runners.ledger.fence import NewEvent, column_value, insert_events
from runners.ledger.pausing import EARLIER
from runners.models import AgentRun, WorkerNode


@dataclass(frozen=True, slots=True)
class Claim:
    """The start of a run's invocation: where it will run and with what."""

    run_id: int
    connection_id: UUID
    web_node: str
    runner_id: str
    deadline_at: datetime
    snapshot: dict[str, Any]
    invocation: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A won claim: its fencing token, where the run stands, and what says so."""

    run_id: int
    token: int
    last_seq: int
    invocation: int
    inbound_cursor: str
    event: NewEvent


def claim_runs(node: UUID, claims: list[Claim]) -> dict[int, Claimed]:
    """Move queued runs to running for `node`; losers are left out of the answer."""
    with transaction.atomic():
        started = [
            _start(node, claim) for claim in sorted(claims, key=lambda one: one.run_id)
        ]
        claimed = {one.run_id: one for one in started if one is not None}
        _insert_firsts(claimed.values())
    return claimed


def _start(node: UUID, claim: Claim) -> Claimed | None:
    now = datetime.now(UTC)
    version = claim.snapshot["agent"]["version"]
    values = {
        "status": RunStatus.RUNNING,
        "status_reason": "",
        "node": node,
        "connection_id": claim.connection_id,
        "web_node": claim.web_node,
        "runner_id": claim.runner_id,
        "snapshot": claim.snapshot,
        "agent_version": version,
        "deadline_at": claim.deadline_at,
        "last_active_at": now,
        "last_claimed_at": now,
    }
    table = connection.ops.quote_name(AgentRun._meta.db_table)
    sql = f"""
        UPDATE {table} SET {", ".join(f"{name} = %s" for name in values)},
            started_at = COALESCE(started_at, %s),
            fencing_token = fencing_token + 1, last_seq = last_seq + 1,
            dispatch_attempts = dispatch_attempts + 1
        WHERE id = %s AND invocation = %s AND status = %s
        RETURNING fencing_token, last_seq, invocation, inbound_cursor
    """  # noqa: S608  only names of our own columns are interpolated
    moment = column_value("started_at", now)
    given = [column_value(name, value) for name, value in values.items()]
    place = claim.run_id, claim.invocation, str(RunStatus.QUEUED)
    rows = execute_returning(connection, sql, [*given, moment, *place])
    data = {"runner": claim.runner_id, "agent_version": version}
    if not rows:
        return None
    token, last_seq, invocation, cursor = rows[0]
    goes_on = EARLIER in claim.snapshot  # after a pause
    event = NewEvent(EventType.RUN_RESUMED if goes_on else EventType.RUN_STARTED, data)
    return Claimed(claim.run_id, token, last_seq, invocation, cursor, event)


def _insert_firsts(claimed: Iterable[Claimed]) -> None:
    insert_events(
        [(one.run_id, one.last_seq, one.invocation, one.event) for one in claimed]
    )


def adoptable_runs(limit: int) -> list[int]:
    """Return running runs whose worker released them or is silent for 6 s."""
    return list(_adoptable().order_by("pk").values_list("pk", flat=True)[:limit])


def adopt_runs(run_ids: list[int], node: UUID) -> list[Claimed]:
    """Take over those of the runs that are adoptable now.

    One whose row is locked waits for the next round: a worker that sleeps in a
    transaction must not keep all others of its runs from being adopted.
    """
    with transaction.atomic():
        runs = lock_rows(_adoptable().filter(pk__in=run_ids), skip_locked=True)
        AgentRun.objects.filter(pk__in=[run.pk for run in runs]).update(
            node=node,
            fencing_token=F("fencing_token") + 1,
            last_seq=F("last_seq") + 1,
        )
        adopted = [_adopt(run) for run in runs]
        _insert_firsts(adopted)
    return adopted


def _adopt(run: AgentRun) -> Claimed:
    return Claimed(
        run.pk,
        run.fencing_token + 1,
        run.last_seq + 1,
        run.invocation,
        run.inbound_cursor,
        NewEvent(EventType.RUN_ADOPTED, {}),
    )


def carried_runs(node: UUID) -> set[int]:
    """Return the runs that the ledger says `node` carries."""
    rows = AgentRun.objects.running().filter(node=node)
    return set(rows.values_list("pk", flat=True))


def release_runs(node: UUID, run_ids: Collection[int] | None = None) -> int:
    """Give up these runs of a worker, or all when it drains; adopters take them."""
    rows = AgentRun.objects.running().filter(node=node)
    if run_ids is not None:
        rows = rows.filter(pk__in=run_ids)
    with transaction.atomic():
        held = lock_rows(rows.only("pk"))  # an UPDATE alone locks in no order
        return rows.filter(pk__in=[run.pk for run in held]).update(node=None)


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
    # Who has a lease is a remote runtime: `runners.runtimes.leases` looks after it.
    return AgentRun.objects.running().filter(
        Q(node=None) | ~Q(node__in=WorkerNode.objects.alive().values("public_id")),
        claim_lease_expires_at=None,
    )
