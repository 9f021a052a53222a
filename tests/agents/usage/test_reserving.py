"""Each call holds a reserve, is recorded once, and counts to the right windows."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agents.models import (
    ModelPrice,
    OpenModelCall,
    PersonTier,
    Quota,
    QuotaWindow,
    UsageRecord,
)
from agents.resources import budgets
from agents.resources.budgets import (
    QuotaExceededError,
    Spender,
    check_budget,
)
from agents.resources.quotas import window_of
from agents.resources.reserving import (
    begin_call,
    release_call,
    settle_call,
    settle_lost_calls,
)

pytestmark = pytest.mark.django_db
USAGE = {"prompt_tokens": 1000, "completion_tokens": 50}
COST, RESERVE = 2500, 3000  # 1000 x 2 + 50 x 10, and 1000 x 2 + 100 x 10


@pytest.fixture
def quota(workspace):
    def make(scope="workspace", window="daily", limit=10_000, **fields):
        return Quota.objects.create(
            workspace=workspace,
            scope=scope,
            window=window,
            limit_microdollars=limit,
            **fields,
        )

    return make


def amounts():
    """Return (scope, window, spent, reserved) of every window."""
    rows = QuotaWindow.objects.order_by("scope", "window")
    fields = ("scope", "window", "settled_microdollars", "reserved_microdollars")
    return list(rows.values_list(*fields))


def spend(facts, times=1):
    for _ in range(times):
        settle_call(begin_call(facts), USAGE)


def test_a_call_is_recorded_with_what_the_provider_said(facts_of, model, workspace):
    run_id = uuid4()
    opened = begin_call(facts_of(run_id=run_id, invocation=2, call=7))
    settle_call(opened, {**USAGE, "prompt_tokens_details": {"cached_tokens": 10}})
    row = UsageRecord.objects.get()
    assert (row.workspace, row.model, row.run_id) == (workspace, model, run_id)
    assert (row.invocation, row.call, row.person) == (2, 7, "api:user:1")
    assert (row.model_name, row.provider_name) == ("big", "Cloud")
    assert (row.prompt_tokens, row.completion_tokens) == (1000, 50)
    assert (row.cached_tokens, row.reasoning_tokens) == (10, None)
    assert (row.cost_microdollars, row.cost_source) == (COST, "price")
    assert row.price == ModelPrice.objects.get()
    assert not row.cost_missing
    assert not OpenModelCall.objects.exists()


def test_a_call_is_settled_once(facts_of, quota):
    quota()
    opened = begin_call(facts_of())
    assert settle_call(opened, USAGE) is not None
    assert settle_call(opened, USAGE) is None
    assert not release_call(opened)
    assert UsageRecord.objects.count() == 1
    assert amounts() == [("workspace", "daily", COST, 0)]


def test_two_calls_are_two_records(facts_of):
    spend(facts_of(call=1), times=2)  # an adopter asks again: that is another call
    assert UsageRecord.objects.count() == 2


def test_a_missing_cost_is_flagged_and_leaves_the_counters(facts_of, quota, caplog):
    quota()
    opened = begin_call(facts_of())
    assert amounts() == [("workspace", "daily", 0, RESERVE)]
    row = settle_call(opened, None)
    assert row is not None
    assert row.cost_missing
    assert row.cost_microdollars is None
    assert amounts() == [("workspace", "daily", 0, 0)]
    assert QuotaWindow.objects.get().unknown_calls == 1
    assert "nobody knows" in caplog.text


def test_a_refused_call_gives_its_reserve_back(facts_of, quota):
    quota()
    assert release_call(begin_call(facts_of()))
    assert amounts() == [("workspace", "daily", 0, 0)]
    assert not UsageRecord.objects.exists()


def test_the_price_of_the_time_counts(facts_of, model):
    now = datetime.now(UTC)
    dear = {"input_microdollars": 9_000_000, "output_microdollars": 0}
    ModelPrice.objects.create(model=model, valid_from=now - timedelta(1), **dear)
    ModelPrice.objects.create(model=model, valid_from=now + timedelta(1), **dear)
    spend(facts_of())
    assert UsageRecord.objects.get().cost_microdollars == COST


def test_all_windows_of_a_call_count(facts_of, quota, agent):
    quota(window="daily")
    quota(window="weekly")
    quota("agent", agent=agent)
    quota("user", window="weekly")
    spend(facts_of())
    assert amounts() == [
        ("agent", "daily", COST, 0),
        ("user", "weekly", COST, 0),
        ("workspace", "daily", COST, 0),
        ("workspace", "weekly", COST, 0),
    ]


def test_a_used_up_window_refuses_until_it_begins_anew(facts_of, quota):
    quota(limit=4 * COST)
    spend(facts_of(), times=4)
    with pytest.raises(QuotaExceededError) as caught:
        begin_call(facts_of())
    assert caught.value.resets_at == window_of("daily", datetime.now(UTC))[1]
    assert 0 < caught.value.retry_after <= 24 * 3600
    assert not OpenModelCall.objects.exists()
    assert amounts() == [("workspace", "daily", 4 * COST, 0)]


def test_reserves_count_as_spent(facts_of, quota):
    quota(limit=2 * RESERVE)
    opened = [begin_call(facts_of()) for _ in range(2)]
    with pytest.raises(QuotaExceededError):
        begin_call(facts_of())
    for one in opened:
        settle_call(one, USAGE)
    begin_call(facts_of())


def test_the_day_is_looked_at_before_the_week(facts_of, quota):
    quota(window="weekly", limit=1)
    quota(window="daily", limit=1)
    spend(facts_of())
    with pytest.raises(QuotaExceededError) as caught:
        begin_call(facts_of())
    assert caught.value.window == "daily"


def test_nothing_is_unlimited_as_zero_and_as_disabled(facts_of, quota):
    quota(limit=0)
    quota(window="weekly", limit=1, enabled=False)
    spend(facts_of(), times=3)
    assert amounts() == []


def test_people_have_budgets_of_their_own(facts_of, quota):
    quota("user", limit=COST)
    spend(facts_of("api:user:1"))
    spend(facts_of("api:user:2"))
    with pytest.raises(QuotaExceededError):
        begin_call(facts_of("api:user:1"))
    spend(facts_of(""))  # nobody speaks: no person's budget


def test_the_narrowest_row_of_a_person_counts(facts_of, quota, workspace):
    quota("user", limit=1)
    quota("tier", tier="pro", limit=2 * COST)
    quota("user", person="api:user:3", limit=3 * COST)
    for number, tier in ((2, "pro"), (3, "pro")):
        PersonTier.objects.create(
            workspace=workspace, person=f"api:user:{number}", tier=tier
        )
    for number in (1, 2, 3):
        spend(facts_of(f"api:user:{number}"), times=number)
        with pytest.raises(QuotaExceededError):
            begin_call(facts_of(f"api:user:{number}"))


@pytest.mark.parametrize(
    ("tier", "limit"),
    [("free", 1), ("pro", 5), ("business", 20), ("enterprise", 60)],
)
def test_a_row_without_a_limit_takes_the_base_of_the_tier(
    facts_of, quota, workspace, tier, limit
):
    quota("user", limit=None)
    PersonTier.objects.create(workspace=workspace, person="api:user:1", tier=tier)
    (found,) = budgets.limits_of(facts_of().spender)
    assert found.microdollars == limit * 1_000_000


def test_a_new_quota_knows_what_was_spent_before(facts_of, quota):
    spend(facts_of(), times=2)
    quota(limit=2 * COST)
    with pytest.raises(QuotaExceededError):
        begin_call(facts_of())


def test_a_lost_call_gives_its_reserve_back_and_is_flagged(facts_of, quota):
    quota()
    run_id = uuid4()
    opened = begin_call(facts_of(run_id=run_id))
    assert settle_lost_calls() == []
    OpenModelCall.objects.update(expires_at=datetime.now(UTC))
    assert settle_lost_calls() == [run_id]
    row = UsageRecord.objects.get()
    assert (row.outcome, row.cost_missing) == ("lost", True)
    assert amounts() == [("workspace", "daily", 0, 0)]
    assert settle_call(opened, USAGE) is None


def test_nothing_is_asked_where_there_are_no_quotas(
    workspace, agent, django_assert_num_queries
):
    spender = Spender(workspace.pk, agent.pk, "api:user:1")
    budgets.has_quotas(workspace.pk)
    with django_assert_num_queries(0):
        check_budget(spender)


def test_a_new_quota_holds_at_once_for_new_messages(facts_of, quota):
    check_budget(facts_of().spender)
    quota(limit=COST)
    check_budget(facts_of().spender)
    spend(facts_of())
    with pytest.raises(QuotaExceededError):
        check_budget(facts_of().spender)


def test_windows_begin_at_midnight_and_on_monday():
    thursday = datetime(2026, 1, 1, 15, 30, tzinfo=UTC)
    day, week = window_of("daily", thursday), window_of("weekly", thursday)
    assert day == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert week == (
        datetime(2025, 12, 29, tzinfo=UTC),
        datetime(2026, 1, 5, tzinfo=UTC),
    )
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    assert window_of("weekly", monday)[0] == monday
