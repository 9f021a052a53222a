"""Budgets under fifty runs at once, many times, with workers that die in between."""

import random

import pytest

from agents.models import Model, ModelPrice, ModelProvider, OpenModelCall, UsageRecord
from agents.resources.budgets import Spender
from agents.resources.llm import model_specs
from agents.resources.reserving import CallFacts
from tests.support.budget_race import (
    COST,
    RESERVE,
    begin_anew,
    limit_everything,
    spend_at_once,
    sweep_all,
    windows,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]
RUNS, CALLS, ROUNDS = 50, 3, 20


@pytest.fixture
def facts(workspace, agent):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    model = Model.objects.create(provider=provider, name="big")
    ModelPrice.objects.create(
        model=model, input_microdollars=2_000_000, output_microdollars=10_000_000
    )
    name = str(model.public_id)
    return CallFacts(
        spender=Spender(workspace.pk, agent.pk, "api:user:1"),
        model=model_specs([name], workspace.pk)[name],
        estimate=lambda: 1000,
        most_output=100,
    )


@pytest.mark.parametrize("lost_percent", [0, 20])
def test_no_round_overshoots_by_more_than_a_reserve(facts, agent, lost_percent):
    limit = 40 * COST + 1
    limit_everything(agent, limit)
    for number in range(ROUNDS):
        begin_anew()
        chance = random.Random(number)  # noqa: S311  no secret
        lost = {
            place
            for place in range(RUNS * CALLS)
            if chance.random() * 100 < lost_percent
        }
        refused = spend_at_once(facts, RUNS, CALLS, lost)
        settled, held = UsageRecord.objects.count(), OpenModelCall.objects.count()
        assert limit <= (settled + held) * COST <= limit + RESERVE, number
        assert refused == RUNS * CALLS - settled - held
        assert windows() == [(settled * COST, held * RESERVE)] * 3
        assert sweep_all() == held
        assert windows() == [(settled * COST, 0)] * 3
        missing = UsageRecord.objects.filter(cost_source="missing", outcome="lost")
        assert missing.count() == held
