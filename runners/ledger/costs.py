"""What a run's model calls and its sub-runs used and cost, written into its row."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q, Sum

from agents.choices import CallOutcome, CostSource
from agents.resources.reserving import settle_call, settle_lost_calls
from agents.resources.usage import OpenModelCall, UsageRecord
from langbot.lib.models import lock_rows
from runners.choices import RunStatus
from runners.ledger.runs import AgentRun

HOST, RUNNER = "host", "runner"
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "cached_tokens")
_SUMMED: Final = (*_TOKENS, "reasoning_tokens", "model_calls", "calls_without_cost")
_YOUNG_SECONDS: Final = 15.0  # a call that just began may belong to a run being claimed
_GRACE_SECONDS: Final = 20.0  # for its worker to settle a call of a run that ended
_LOOKED_AT: Final = 500


def reported(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a runner says it used, marked as the runner's word."""
    return None if usage is None else {**usage, "reported_by": RUNNER}


def settle_for_run(
    opened: OpenModelCall,
    run_pk: int,
    usage: dict[str, Any] | None,
    outcome: CallOutcome = CallOutcome.COMPLETED,
) -> None:
    """Record a model call, and what its run and the runs above have used since."""
    if settle_call(opened, usage, outcome) is not None:
        roll_up(run_pk)


def roll_up(run_pk: int) -> None:
    """Write a run's totals into its row, then those of the runs it is a part of.

    The totals are read under the row's lock, so that the last of many writers sees
    every call. Repeating it is harmless, also for a run that has ended; call it outside
    a transaction. `cost_microdollars` is what is known, None when nothing is;
    `usage["calls_without_cost"]` counts the calls that it lacks.
    """
    key: int | None = run_pk
    while key is not None:
        key = _roll_up_one(key)


@transaction.atomic
def _roll_up_one(run_pk: int) -> int | None:
    rows = AgentRun.objects.filter(pk=run_pk).only("public_id", "parent_id")
    locked = lock_rows(rows)
    if not locked:
        return None
    run = locked[0]
    usage, cost = _totals(run)
    if usage["model_calls"]:
        AgentRun.objects.filter(pk=run.pk).update(
            usage={**usage, "reported_by": HOST}, cost_microdollars=cost
        )
    return run.parent_id


def _totals(run: AgentRun) -> tuple[dict[str, Any], int | None]:
    usage, costs = _own(run.public_id)
    children = AgentRun.objects.filter(parent=run.pk)
    for theirs, cost in children.values_list("usage", "cost_microdollars"):
        if isinstance(theirs, dict) and theirs.get("reported_by") == HOST:
            for name in _SUMMED:
                usage[name] += theirs.get(name) or 0
            costs.append(cost)
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    known = [cost for cost in costs if cost is not None]
    return usage, sum(known) if known else None


def _own(public_id: UUID) -> tuple[dict[str, int], list[int | None]]:
    missing = Q(cost_source=CostSource.MISSING)
    sums = UsageRecord.objects.filter(run_id=public_id).aggregate(
        **{name: Sum(name) for name in (*_TOKENS, "reasoning_tokens")},
        model_calls=Count("pk"),
        calls_without_cost=Count("pk", filter=missing),
        cost=Sum("cost_microdollars"),
    )
    return {name: sums[name] or 0 for name in _SUMMED}, [sums["cost"]]


def sweep_lost_calls() -> int:
    """Settle the calls that their workers left open; returns how many runs had one.

    Their reserve goes back to the budget, and their cost is flagged as unknown.
    """
    _let_go_of_orphans()
    lost = settle_lost_calls()
    for key in AgentRun.objects.filter(public_id__in=lost).values_list("pk", flat=True):
        roll_up(key)
    return len(lost)


def _let_go_of_orphans() -> None:
    """Shorten the life of calls whose run ended or went on in another worker."""
    now = datetime.now(UTC)
    grace = now + timedelta(seconds=_GRACE_SECONDS)
    opened = OpenModelCall.objects.filter(
        started_at__lt=now - timedelta(seconds=_YOUNG_SECONDS), expires_at__gt=grace
    ).order_by("pk")[:_LOOKED_AT]
    calls = list(opened.values_list("pk", "run_id", "token"))
    if not calls:
        return
    runs = AgentRun.objects.filter(public_id__in={run for _pk, run, _token in calls})
    tokens = dict(
        runs.filter(status=RunStatus.RUNNING).values_list("public_id", "fencing_token")
    )
    orphans = [pk for pk, run, token in calls if not run or tokens.get(run) != token]
    OpenModelCall.objects.filter(pk__in=orphans).update(expires_at=grace)


__all__ = ["reported", "roll_up", "settle_for_run", "sweep_lost_calls"]
