"""Many runs that spend one budget at the same time."""

import threading
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from django.db import connections

from agents.models import OpenModelCall, Quota, QuotaWindow, UsageRecord
from agents.resources.budgets import QuotaExceededError
from agents.resources.reserving import (
    CallFacts,
    begin_call,
    settle_call,
    settle_lost_calls,
)

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
COST = RESERVE = 3000  # of USAGE at 2 and 10 USD per million


def limit_everything(agent, limit):
    """Give the workspace, the agent and each person the same limit for today."""
    for scope, fields in (("workspace", {}), ("agent", {"agent": agent}), ("user", {})):
        Quota.objects.create(
            workspace=agent.workspace,
            scope=scope,
            window="daily",
            limit_microdollars=limit,
            **fields,
        )


def spend_at_once(
    facts: CallFacts, runs: int, calls: int, lost: Container[int] = ()
) -> int:
    """Let `runs` threads make `calls` calls each; returns how many were refused.

    Calls whose number is in `lost` are never settled, as by a killed worker.
    """
    together = threading.Barrier(runs)

    def run(number: int) -> int:
        together.wait(60)
        try:
            places = range(number * calls, (number + 1) * calls)
            return sum(_is_refused(facts, is_lost=place in lost) for place in places)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(runs) as pool:
        return sum(pool.map(run, range(runs)))


def _is_refused(facts: CallFacts, *, is_lost: bool) -> bool:
    try:
        opened = begin_call(facts)
    except QuotaExceededError:
        return True
    if not is_lost:
        settle_call(opened, USAGE)
    return False


def sweep_all() -> int:
    """Settle what was left open, as the sweep does later; returns how many it was."""
    lost = OpenModelCall.objects.count()
    OpenModelCall.objects.update(expires_at=datetime.now(UTC))
    settle_lost_calls()
    return lost


def begin_anew() -> None:
    """Forget every call and window."""
    OpenModelCall.objects.all().delete()
    QuotaWindow.objects.all().delete()
    UsageRecord.objects.all().purge()


def windows() -> list[tuple[int, int]]:
    """Return (spent, reserved) of every window."""
    rows = QuotaWindow.objects.order_by("scope")
    return list(rows.values_list("settled_microdollars", "reserved_microdollars"))
