"""Fifty runs at once overshoot a budget by one reserve at most."""

import pytest

from agents.models import OpenModelCall, UsageRecord
from tests.support.budget_race import (
    COST,
    RESERVE,
    limit_everything,
    spend_at_once,
    windows,
)

pytestmark = pytest.mark.django_db(transaction=True)
RUNS, CALLS = 50, 2


def test_fifty_runs_overshoot_by_one_reserve_at_most(facts_of, agent):
    limit = 30 * COST + 1  # a call more than fits
    limit_everything(agent, limit)
    refused = spend_at_once(facts_of(), RUNS, CALLS)
    spent = UsageRecord.objects.count() * COST
    assert limit <= spent <= limit + RESERVE
    assert refused == RUNS * CALLS - spent // COST
    assert windows() == [(spent, 0)] * 3
    assert not OpenModelCall.objects.exists()
