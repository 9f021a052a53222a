"""What a call cost: the provider's word first, then tokens and price, never a zero."""

import pytest

from agents.choices import CostSource
from agents.models import ModelPrice
from agents.resources.pricing import Cost, cost_of, priced, read_tokens

PRICE = ModelPrice(
    input_microdollars=2_000_000,
    output_microdollars=10_000_000,
    cached_microdollars=500_000,
    reasoning_microdollars=20_000_000,
)


def cost(usage, price=PRICE, **options):
    return cost_of(usage, read_tokens(usage), price, **options)


def test_tokens_cost_their_price():
    usage = {"prompt_tokens": 1000, "completion_tokens": 50}
    assert cost(usage) == Cost(1000 * 2 + 50 * 10, CostSource.PRICE)


def test_cached_and_reasoning_tokens_have_prices_of_their_own():
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 800},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    assert cost(usage).microdollars == 200 * 2 + 400 + 10 * 10 + 40 * 20


def test_without_a_price_of_their_own_they_cost_what_the_others_do():
    price = ModelPrice(input_microdollars=2_000_000, output_microdollars=10_000_000)
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 3,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert cost(usage, price).microdollars == 10 * 2 + 5 * 10


def test_the_smallest_call_is_no_free_one():
    tokens = read_tokens({"prompt_tokens": 1, "completion_tokens": 0})
    assert priced(tokens, ModelPrice(input_microdollars=1)) == 1


def test_more_cached_tokens_than_tokens_never_cost_less_than_nothing():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 9},
    }
    assert cost(usage).microdollars == 5 + 20


@pytest.mark.parametrize(
    ("told", "microdollars"),
    [
        ({"cost": 0.0123}, 12_300),
        ({"cost": "0.0000001"}, 1),
        ({"cost": 0}, 0),
        ({"cost": {"total_cost": 0.5}}, 500_000),
        ({"estimated_cost": 0.25}, 250_000),
    ],
)
def test_the_amount_of_the_provider_comes_first(told, microdollars):
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, **told}
    assert cost(usage) == Cost(microdollars, CostSource.PROVIDER)


@pytest.mark.parametrize("told", ["much", float("nan"), float("inf"), True, -1, 1e30])
def test_an_amount_that_is_none_is_skipped_and_told(told, caplog):
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "cost": told}
    assert cost(usage) == Cost(2000, CostSource.PRICE)
    assert [record.levelname for record in caplog.records] == [
        "WARNING" if told == -1 else "ERROR"
    ]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"completion_tokens": 3},
        {"prompt_tokens": "7", "completion_tokens": 3},
        {"prompt_tokens": 7, "completion_tokens": 3, "estimated": True},
    ],
)
def test_what_nobody_knows_is_missing_and_never_zero(usage):
    assert cost(usage) == Cost(None, CostSource.MISSING)


def test_no_price_is_a_missing_cost():
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    assert cost(usage, None) == Cost(None, CostSource.MISSING)


def test_a_price_per_call_needs_no_tokens():
    price = ModelPrice(input_microdollars=0, call_microdollars=2000)
    assert cost(None, price) == Cost(2000, CostSource.PRICE)


def test_the_demo_costs_nothing():
    assert cost(None, None, is_free=True) == Cost(0, CostSource.FREE)
