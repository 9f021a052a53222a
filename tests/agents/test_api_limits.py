"""Staff list and set budgets, prices, tiers and periods; people only their own tier."""

from datetime import UTC, datetime

import pytest
from rest_framework.test import APIClient

from agents.models import Model, ModelPrice, ModelProvider, PersonTier, Quota
from agents.resources.budgets import Spender, limits_of
from agents.resources.quotas import window_of
from agents.resources.tiers import change_tier
from langbot.core.models import AuditLog
from langbot.core.periods import WorkspaceRetention
from langbot.core.tokens import create_api_token
from tests.factories import AgentFactory, WorkspaceFactory
from tests.support.rest import admin_client_of

QUOTAS, PRICES, TIERS = "/api/v1/quotas/", "/api/v1/prices/", "/api/v1/tiers/"
ME, RETENTION = "/api/v1/usage/me/", "/api/v1/retention/"
DAILY = {"scope": "workspace", "window": "daily", "limit_microdollars": 5_000_000}


@pytest.fixture
def staff(workspace):
    return admin_client_of(workspace)


@pytest.fixture
def model(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    return Model.objects.create(provider=provider, name="org/big")


@pytest.fixture
def person(django_user_model, workspace):
    """A member in no group, and their client."""
    member = django_user_model.objects.create_user("eve")
    workspace.memberships.create(user=member)
    client = APIClient()
    _, token = create_api_token(member, workspace, "tests")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return member, client


def acts(kind):
    entries = AuditLog.objects.filter(object_type=f"langbot_{kind}").order_by("pk")
    return [(entry.actor, entry.action) for entry in entries]


# Quotas


def test_a_quota_is_made_changed_and_deleted(staff, workspace):
    made = staff.post(QUOTAS, DAILY, format="json")
    assert made.status_code == 201, made.content
    there = f"{QUOTAS}{made.json()['id']}/"
    changed = staff.patch(
        there, {"limit_microdollars": 0}, "json", headers={"If-Match": made["ETag"]}
    )
    assert changed.json()["limit_microdollars"] == 0
    assert staff.get(QUOTAS).json()["results"] == [changed.json()]
    stale = staff.patch(there, {}, "json", headers={"If-Match": made["ETag"]})
    assert stale.status_code == 412
    assert staff.delete(there).status_code == 204
    assert not Quota.objects.exists()
    assert acts("agents.quota") == [
        ("boss", "created"),
        ("boss", "changed"),
        ("boss", "deleted"),
    ]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({**DAILY, "limit_microdollars": None}, "limit_microdollars"),
        ({**DAILY, "limit_microdollars": -1}, "limit_microdollars"),
        ({**DAILY, "limit_microdollars": 2**63}, "limit_microdollars"),
        ({**DAILY, "scope": "agent"}, "agent"),
        ({**DAILY, "scope": "agent", "agent": "theirs"}, "agent"),
        ({**DAILY, "tier": "pro"}, "tier"),
        ({**DAILY, "person": "api:user:1"}, "person"),
        ({**DAILY, "window": "hourly"}, "window"),
        ({**DAILY, "workspace": "x"}, "workspace"),
    ],
)
def test_a_quota_keeps_the_rules_of_its_model(staff, workspace, content, field):
    AgentFactory.create(workspace=WorkspaceFactory.create(slug="other"), slug="theirs")
    refused = staff.post(QUOTAS, content, format="json")
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == [field]
    assert not Quota.objects.exists()


def test_one_budget_is_there_once(staff, workspace, agent):
    one = {**DAILY, "scope": "agent", "agent": agent.slug}
    for content in (DAILY, one):
        assert staff.post(QUOTAS, content, format="json").status_code == 201
        assert staff.post(QUOTAS, content, format="json").status_code in {400, 409}
    assert Quota.objects.count() == 2
    found = staff.get(QUOTAS, {"agent": agent.slug}).json()["results"]
    assert [row["agent"] for row in found] == [str(agent.public_id)]
    assert staff.get(QUOTAS, {"agent": "other"}).json()["results"] == []


# Prices


def test_a_price_is_set_by_the_names_of_provider_and_model(staff, model):
    content = {"model": "Cloud/org/big", "input_microdollars": 200}
    made = staff.post(PRICES, content, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["model"] == "Cloud/org/big"
    by_id = {
        "model": str(model.public_id),
        "input_microdollars": 300,
        "valid_from": "2030-01-01T00:00:00Z",
    }
    later = staff.post(PRICES, by_id, format="json").json()
    for named in ("Cloud/org/big", str(model.public_id)):
        found = staff.get(PRICES, {"model": named}).json()["results"]
        assert [row["id"] for row in found] == [later["id"], made.json()["id"]]
    assert staff.get(PRICES, {"model": "Cloud/x"}).json()["results"] == []
    assert staff.post(PRICES, by_id, format="json").status_code in {400, 409}
    there = f"{PRICES}{later['id']}/"
    staff.patch(there, {"output_microdollars": 7}, format="json")
    assert ModelPrice.objects.get(valid_from__year=2030).output_microdollars == 7
    assert staff.delete(there).status_code == 204
    assert [act for _who, act in acts("agents.modelprice")] == [
        "created",
        "created",
        "changed",
        "deleted",
    ]


def test_a_model_of_another_workspace_has_no_price_here(staff, workspace):
    foreign = ModelProvider.objects.create(
        workspace=WorkspaceFactory.create(slug="other"), name="Far"
    )
    Model.objects.create(provider=foreign, name="big")
    content = {"model": "Far/big", "input_microdollars": 1}
    refused = staff.post(PRICES, content, format="json")
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == ["model"]


# Tiers


def test_staff_give_every_tier_and_take_it(staff, workspace):
    ann = {"person": "api:user:1"}
    given = staff.post(TIERS, {**ann, "tier": "enterprise"}, format="json")
    assert (given.status_code, given.json()["tier"]) == (200, "enterprise")
    taken = staff.post(TIERS, {**ann, "tier": "free"}, format="json").json()
    assert (taken["tier"], taken["pending_tier"]) == ("enterprise", "free")
    _start, monday = window_of("weekly", datetime.now(UTC))
    assert datetime.fromisoformat(taken["pending_at"]) == monday
    assert staff.get(TIERS, ann).json()["results"] == [taken]
    assert acts("agents.persontier") == [("boss", "changed")] * 2


def test_a_tier_holds_for_the_very_next_call(staff, workspace):
    """Nothing is kept by tier that a change would have to clear (AG-119)."""
    Quota.objects.create(workspace=workspace, scope="user", window="daily")
    spender = Spender(workspace.pk, None, "api:user:1")
    (base,) = limits_of(spender)
    staff.post(TIERS, {"person": "api:user:1", "tier": "pro"}, format="json")
    (raised,) = limits_of(spender)
    assert raised.microdollars == 5 * base.microdollars


def test_people_lower_their_own_tier_and_think_again(person, workspace):
    member, client = person
    who = f"api:user:{member.pk}"
    change_tier(workspace.pk, who, "business", author="ada", is_staff=True)
    lowered = client.patch(ME, {"tier": "free"}, format="json")
    assert lowered.status_code == 200, lowered.content
    assert lowered.json()["tier"] == "business"
    assert lowered.json()["pending_tier"] == "free"
    for _again in range(2):
        kept = client.patch(ME, {"tier": "business"}, format="json").json()
        assert (kept["tier"], kept["pending_tier"], kept["pending_at"]) == (
            "business",
            "",
            None,
        )
    assert client.get(ME).json()["tier"] == "business"
    assert AuditLog.objects.filter(actor="eve").count() == 2


@pytest.mark.parametrize(("has", "wanted"), [("free", "pro"), ("pro", "enterprise")])
def test_nobody_raises_their_own_tier(person, workspace, has, wanted):
    member, client = person
    who = f"api:user:{member.pk}"
    change_tier(workspace.pk, who, has, author="ada", is_staff=True)
    refused = client.patch(ME, {"tier": wanted}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert PersonTier.objects.get().tier == has


@pytest.mark.parametrize("wanted", ["free", "enterprise"])
def test_the_top_tier_is_not_for_self_service(
    person, api_client, user, wanted, workspace
):
    """Not even for those who may give it to others (AG-118)."""
    member, client = person
    for who, door in ((member, client), (user, api_client)):
        name = f"api:user:{who.pk}"
        change_tier(workspace.pk, name, "enterprise", author="ada", is_staff=True)
        assert door.patch(ME, {"tier": wanted}, format="json").status_code == 403
    assert set(PersonTier.objects.values_list("tier", "pending_tier")) == {
        ("enterprise", "")
    }


def test_who_may_change_tiers_may_raise_their_own(api_client):
    raised = api_client.patch(ME, {"tier": "pro"}, format="json")
    assert (raised.status_code, raised.json()["tier"]) == (200, "pro")


# Periods


def test_periods_are_read_and_changed(staff, workspace):
    usual = staff.get(RETENTION).json()
    assert (usual["run_days"], usual["audit_days"]) == (90, None)
    assert not WorkspaceRetention.objects.exists()
    changed = staff.patch(RETENTION, {"message_days": 30}, format="json")
    assert changed.status_code == 200, changed.content
    assert changed.json() == {**usual, "message_days": 30}
    assert staff.get(RETENTION).json() == changed.json()
    staff.patch(RETENTION, {"message_days": 30}, format="json")
    staff.patch(RETENTION, {"audit_days": 7}, format="json")
    staff.patch(RETENTION, {"audit_days": None}, format="json")
    assert WorkspaceRetention.objects.get().audit_days is None
    kinds = [act for _who, act in acts("core.workspaceretention")]
    assert kinds == ["created", "changed", "changed"]


@pytest.mark.parametrize("days", [-1, 36_501, "x", None])
def test_a_period_is_a_number_of_days(staff, days):
    refused = staff.patch(RETENTION, {"run_days": days}, format="json")
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == ["run_days"]
