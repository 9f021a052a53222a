"""A raise holds at once, a lower tier from Monday; the top is staff's."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.models import PersonTier
from agents.resources.quotas import window_of
from agents.resources.tiers import (
    TierRefusedError,
    change_tier,
    tier_at,
    tier_of,
)
from langbot.core.models import AuditLog

pytestmark = pytest.mark.django_db
ANN = "api:user:1"


@pytest.fixture
def change(workspace):
    def to(tier, *, is_staff=False):
        return change_tier(workspace.pk, ANN, tier, author="ada", is_staff=is_staff)

    return to


def test_nobody_begins_higher_than_free(workspace):
    assert tier_of(workspace.pk, ANN) == "free"


def test_a_raise_holds_at_once(change, workspace):
    change("pro")
    assert tier_of(workspace.pk, ANN) == "pro"
    entry = AuditLog.objects.get(object_type="langbot_agents.persontier")
    assert entry.after is not None
    assert (entry.actor, entry.after["tier"]) == ("ada", "pro")


def test_a_lower_tier_waits_for_the_end_of_the_week(change, workspace):
    change("business")
    row = change("free")
    assert tier_of(workspace.pk, ANN) == "business"
    assert row.pending_at == window_of("weekly", datetime.now(UTC))[1]
    assert tier_at(row, row.pending_at - timedelta(seconds=1)) == "business"
    assert tier_at(row, row.pending_at) == "free"


def test_asking_for_the_own_tier_cancels_what_waits(change):
    change("business")
    change("free")
    for _again in range(2):
        row = change("business")
        assert (row.tier, row.pending_tier, row.pending_at) == ("business", "", None)


def test_one_change_waits_at_most(change):
    change("business")
    change("pro")
    change("free")
    assert PersonTier.objects.get().pending_tier == "free"


def test_what_has_come_is_where_the_next_change_begins(change):
    change("business")
    change("free")
    past = datetime.now(UTC) - timedelta(seconds=1)
    PersonTier.objects.update(pending_at=past)
    row = change("pro")
    assert (row.tier, row.pending_tier) == ("pro", "")


def test_the_top_tier_is_staffs_to_give_and_take(change):
    with pytest.raises(TierRefusedError):
        change("enterprise")
    change("enterprise", is_staff=True)
    with pytest.raises(TierRefusedError):
        change("free")
    assert PersonTier.objects.get().tier == "enterprise"


def test_a_monday_is_the_end_of_the_week_before():
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    _, end_before = window_of("weekly", monday - timedelta(seconds=1))
    assert end_before == monday
    assert window_of("weekly", monday) == (monday, monday + timedelta(days=7))
