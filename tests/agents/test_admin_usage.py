"""What staff do with budgets in the admin, and what is audited of it."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from agents.models import (
    Model,
    ModelPrice,
    ModelProvider,
    PersonTier,
    Quota,
    QuotaWindow,
)
from agents.resources.quotas import window_of
from langbot.core.models import AuditLog
from tests.runners.admin_rows import add_money, make_run

pytestmark = pytest.mark.django_db
WINDOWS = reverse("admin:langbot_agents_quotawindow_changelist")


@pytest.fixture
def boss(client):
    person = get_user_model().objects.create_superuser(
        "boss", email="boss@example.com", password="x"
    )
    client.force_login(person)
    client.person = person
    return client


@pytest.fixture
def week(workspace):
    """A used-up day of a person, and the week around it."""
    now, rows = datetime.now(UTC), {}
    for window, limit in (("daily", 100), ("weekly", 300)):
        Quota.objects.create(
            workspace=workspace, scope="user", window=window, limit_microdollars=limit
        )
        starts_at, ends_at = window_of(window, now)
        rows[window] = QuotaWindow.objects.create(
            workspace=workspace,
            scope="user",
            subject="api:user:7",
            window=window,
            starts_at=starts_at,
            ends_at=ends_at,
            settled_microdollars=150,
            reserved_microdollars=5,
        )
    return rows


def act(client, name, *rows):
    keys = [row.pk for row in rows]
    body = {"action": name, "_selected_action": keys}
    response = client.post(WINDOWS, body, follow=True)
    return [str(message) for message in response.context["messages"]]


def spent():
    rows = QuotaWindow.objects.order_by("window")
    return list(rows.values_list("settled_microdollars", "reserved_microdollars"))


def test_an_extra_day_comes_out_of_the_week(boss, week):
    assert act(boss, "grant", week["daily"]) == ["1 budget begins anew."]
    assert spent() == [(0, 5), (50, 5)]
    entries = AuditLog.objects.filter(action="extra day granted")
    assert {entry.actor for entry in entries} == {"boss"}
    assert entries.count() == 2


def test_only_a_used_up_day_is_granted_and_five_times_at_most(boss, week):
    day = week["daily"]
    assert "Only the current day" in act(boss, "grant", week["weekly"])[0]
    for number in range(1, 7):
        QuotaWindow.objects.filter(pk=day.pk).update(settled_microdollars=100)
        told = act(boss, "grant", day)[0]
        assert ("5 extra days" in told) == (number == 6)
    QuotaWindow.objects.filter(pk=day.pk).update(settled_microdollars=99, extra_days=0)
    assert "not used up" in act(boss, "grant", day)[0]
    assert spent()[1] == (0, 5)  # the week fell to nothing, not below


def test_a_budget_begins_anew(boss, week):
    assert act(boss, "reset", *week.values()) == ["2 budgets begin anew."]
    assert spent() == [(0, 5), (0, 5)]
    assert act(boss, "reset", *week.values()) == ["0 budgets begin anew."]
    assert AuditLog.objects.filter(action="reset").count() == 2


def test_spent_so_far_says_what_is_unknown(boss, week):
    QuotaWindow.objects.update(settled_microdollars=0, unknown_calls=2)
    page = boss.get(WINDOWS).content.decode()
    assert page.count("$0.000000 and 2 calls of unknown cost") == 2
    assert act(boss, "reset", *week.values()) == ["2 budgets begin anew."]
    assert set(QuotaWindow.objects.values_list("unknown_calls", flat=True)) == {0}


def test_people_are_found_by_mail(boss, week):
    QuotaWindow.objects.update(subject=f"api:user:{boss.person.pk}")
    found = boss.get(WINDOWS, {"q": "Boss@example.com"}).context["cl"].result_list
    assert len(found) == 2
    found = boss.get(WINDOWS, {"q": "other@example.com"}).context["cl"].result_list
    assert len(found) == 0


def test_a_price_is_added_on_the_models_page_and_audited(boss, workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    model = Model.objects.create(provider=provider, name="big")
    url = reverse("admin:langbot_agents_model_change", args=[model.pk])
    page = boss.get(url)
    form = page.context["adminform"].form
    body = {
        name: form[name].value() if form[name].value() is not None else ""
        for name in form.fields
    }
    body |= {
        "extra_args": "{}",
        "prices-TOTAL_FORMS": 1,
        "prices-INITIAL_FORMS": 0,
        "prices-0-valid_from_0": "2026-01-01",
        "prices-0-valid_from_1": "00:00:00",
        "prices-0-input_microdollars": 2_000_000,
        "prices-0-output_microdollars": 10_000_000,
        "prices-0-call_microdollars": 0,
    }
    assert boss.post(url, body).status_code == 302
    price = ModelPrice.objects.get()
    assert (price.model, price.input_microdollars) == (model, 2_000_000)
    entry = AuditLog.objects.get(object_type="langbot_agents.modelprice")
    assert (entry.actor, entry.action) == ("boss", "created")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"scope": "agent"}, "agent"),
        ({"scope": "tier"}, "tier"),
        ({"scope": "workspace", "person": "api:user:1"}, "person"),
        ({"scope": "workspace", "limit_microdollars": ""}, "limit_microdollars"),
    ],
)
def test_a_quota_that_counts_nobody_is_refused(boss, workspace, given, wrong):
    body = {"workspace": workspace.pk, "window": "daily", "limit_microdollars": 5}
    url = reverse("admin:langbot_agents_quota_add")
    response = boss.post(url, {**body, **given})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [wrong]


def test_a_tier_is_changed_by_its_rules(boss, workspace):
    url = reverse("admin:langbot_agents_persontier_add")
    body = {"workspace": workspace.pk, "person": "api:user:7", "tier": "enterprise"}
    assert boss.post(url, body).status_code == 302
    row = PersonTier.objects.get()
    url = reverse("admin:langbot_agents_persontier_change", args=[row.pk])
    opened = boss.get(url).context["adminform"].form["opened_with"].value()
    assert boss.post(url, {"tier": "free", "opened_with": opened}).status_code == 302
    row.refresh_from_db()
    assert (row.tier, row.pending_tier) == ("enterprise", "free")
    assert AuditLog.objects.filter(object_type="langbot_agents.persontier").count() == 2


def test_the_runs_page_says_what_is_unknown(boss, agent):
    run = make_run(agent, cost_microdollars=2_500, usage={"calls_without_cost": 1})
    page = boss.get(reverse("admin:langbot_runners_agentrun_change", args=[run.pk]))
    assert "$0.002500 and 1 call of unknown cost" in page.content.decode()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_calls_are_exported_with_their_cost(boss, agent):
    run = make_run(agent)
    record, _quota, _window = add_money(agent, run, "api:user:7")
    url = reverse("admin:langbot_agents_usagerecord_changelist")
    body = {"action": "export_csv", "_selected_action": [record.pk]}
    response = boss.post(url, body)
    text = b"".join(response).decode()
    head, line = text.lstrip("\ufeff").strip().splitlines()
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert cells["cost_microdollars"] == "44"
    assert cells["run"] == str(run.public_id)


def test_the_first_page_draws_costs_for_who_may_see_them(boss, agent):
    add_money(agent, make_run(agent), "api:user:7")
    page = boss.get(reverse("admin:index")).content.decode()
    assert "Cost of model calls" in page
    assert "$0.000044 in all; 0 calls of unknown cost." in page
