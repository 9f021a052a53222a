"""Prices, budgets and periods in the document."""

import pytest
from django.core.exceptions import ValidationError

from agents.models import ModelPrice, Quota
from langbot.configuration.export import export_configuration
from langbot.core.models import AuditLog
from langbot.core.periods import WorkspaceRetention
from tests.factories import WorkspaceFactory
from tests.langbot.configuration.helpers import apply, objects

DAILY = {"scope": "workspace", "window": "daily"}


def test_they_are_exported_by_slug_and_name_nobody(full):
    content = export_configuration(full)
    named = [(one["scope"], one["agent"], one["tier"]) for one in content["quotas"]]
    assert named == [
        ("agent", "helper", None),
        ("tier", "", "pro"),
        ("workspace", "", None),
    ]
    assert "api:user:7" not in str(content)
    (model,) = [one for one in content["providers"][0]["models"] if one["prices"]]
    begins = [price["valid_from"] for price in model["prices"]]
    assert begins == ["2025-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]
    assert content["retention"]["run_days"] == 30
    assert content["retention"]["audit_days"] is None


def test_each_change_is_shown_by_a_dry_run_and_then_made(full):
    content = export_configuration(full)
    (model,) = [one for one in content["providers"][0]["models"] if one["prices"]]
    model["prices"][1]["output_microdollars"] = 9
    model["prices"].append(
        {"valid_from": "2027-01-01T00:00:00Z", "input_microdollars": 3}
    )
    for quota in content["quotas"]:
        quota["limit_microdollars"] = 11
    content["retention"]["message_days"] = 60
    place = "providers/Cloud/models/big/prices/"
    expected = {
        f"{place}2026-01-01T00:00:00+00:00": "changed",
        f"{place}2027-01-01T00:00:00+00:00": "created",
        "quotas/agent:helper weekly": "changed",
        "quotas/tier:pro daily": "changed",
        "quotas/workspace:* daily": "changed",
        "retention": "changed",
    }
    entries = AuditLog.objects.count()
    dry = apply(full, content, dry_run=True)
    assert objects(dry) == expected
    found = {one["object"]: one["differences"] for one in dry.changes}
    assert found["retention"] == [{"path": "message_days", "before": 0, "after": 60}]
    assert AuditLog.objects.count() == entries
    assert WorkspaceRetention.objects.get().message_days == 0
    assert objects(apply(full, content)) == expected
    assert AuditLog.objects.count() == entries + len(expected)
    assert AuditLog.objects.latest("pk").workspace == full
    assert apply(full, content).changes == []
    assert Quota.objects.get(person="api:user:7").limit_microdollars is None
    assert ModelPrice.objects.count() == 3


def test_what_a_document_does_not_name_stays(full):
    assert apply(full, {"format": "langbot/1"}).changes == []
    one = {"format": "langbot/1", "quotas": [{**DAILY, "limit_microdollars": 1}]}
    assert objects(apply(full, one)) == {"quotas/workspace:* daily": "changed"}
    assert Quota.objects.count() == 4


def test_where_the_defaults_hold_nothing_is_exported(workspace):
    content = export_configuration(workspace)
    assert (content["quotas"], content["retention"]) == ([], None)
    assert apply(workspace, content).changes == []
    assert not WorkspaceRetention.objects.exists()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"quotas": [{**DAILY}]}, "quotas.workspace:* daily.limit_microdollars"),
        (
            {"quotas": [{"scope": "agent", "agent": "nobody", "window": "daily"}]},
            "quotas.agent:nobody daily.agent",
        ),
        (
            {"quotas": [{"scope": "tier", "window": "daily"}]},
            "quotas.tier:* daily.tier",
        ),
        ({"quotas": [{**DAILY, "person": "api:user:1"}]}, "quotas.0.person"),
        ({"quotas": [{**DAILY, "limit_microdollars": -1}]}, "quotas.0"),
        ({"quotas": [DAILY, DAILY]}, "quotas"),
        ({"retention": {"run_days": 40_000}}, "retention.run_days"),
        ({"retention": {"week_days": 4}}, "retention.week_days"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(workspace, content, place):
    with pytest.raises(ValidationError) as refused:
        apply(workspace, {"format": "langbot/1", **content})
    assert [name for name in refused.value.message_dict if name.startswith(place)]
    assert not Quota.objects.exists()


def test_two_prices_from_one_time_are_refused(full):
    price = {"valid_from": "2027-01-01T00:00:00Z", "input_microdollars": 3}
    model = {"name": "big", "prices": [price, {**price, "input_microdollars": 4}]}
    content = {
        "format": "langbot/1",
        "providers": [{"name": "Cloud", "models": [model]}],
    }
    with pytest.raises(ValidationError) as refused:
        apply(full, content)
    assert list(refused.value.message_dict) == ["providers.Cloud.models.big.prices"]


def test_an_agent_of_another_workspace_is_none(full):
    other = WorkspaceFactory(slug="other")
    quota = {"scope": "agent", "agent": "helper", "window": "daily"}
    content = {"format": "langbot/1", "quotas": [{**quota, "limit_microdollars": 1}]}
    with pytest.raises(ValidationError):
        apply(other, content)
