"""AG-119, AG-123: nothing stale is kept by tier, and no failed lookup as "none"."""

from unittest import mock

import pytest
from django.db import OperationalError
from django.db.models import QuerySet

from agents.models import Quota
from agents.resources import budgets
from agents.resources.budgets import Spender, has_quotas, limits_of
from agents.resources.tiers import change_tier

pytestmark = pytest.mark.django_db
ANN = "api:user:1"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    """Forget what tests before remembered of a workspace with the same key."""
    monkeypatch.setattr(budgets, "_known", {})


def quota(workspace):
    return Quota.objects.create(workspace=workspace, scope="user", window="daily")


def test_a_lookup_that_failed_is_asked_again(workspace):
    # Only a database that is away fails so, and not for this one statement alone.
    away = mock.patch.object(QuerySet, "exists", side_effect=OperationalError)
    with away, pytest.raises(OperationalError):
        has_quotas(workspace.pk)
    Quota.objects.bulk_create(
        [Quota(workspace=workspace, scope="user", window="daily")]
    )
    assert has_quotas(workspace.pk)


def test_what_is_remembered_is_forgotten_with_a_change(workspace):
    assert not has_quotas(workspace.pk)
    row = quota(workspace)
    assert has_quotas(workspace.pk)
    row.delete()
    assert not has_quotas(workspace.pk)


@pytest.mark.parametrize(("tier", "times"), [("pro", 5), ("enterprise", 60)])
def test_a_tier_counts_for_the_next_check(workspace, tier, times):
    quota(workspace)
    spender = Spender(workspace.pk, None, ANN)
    (before,) = limits_of(spender)
    change_tier(workspace.pk, ANN, tier, author="ada", is_staff=True)
    (after,) = limits_of(spender)
    assert after.microdollars == times * before.microdollars
