"""The list of what is spent: whose by name, of which limit, until when."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from agents.models import PersonTier, Quota, QuotaWindow, UsageRecord
from agents.resources.quotas import window_of
from tests.factories import BotFactory, WorkspaceFactory
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db
LIST = reverse("admin:langbot_agents_quotawindow_changelist")
MOST_QUERIES = 15


@pytest.fixture
def staff(client):
    root = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(root)
    return client


@pytest.fixture
def spend(workspace):
    """Make a current window of somebody."""

    def make(subject="", scope="user", spent=150, window="daily", days_ago=0, of=None):
        moment = datetime.now(UTC) - timedelta(days=days_ago)
        starts_at, ends_at = window_of(window, moment)
        return QuotaWindow.objects.create(
            workspace=of or workspace,
            scope=scope,
            subject=subject,
            window=window,
            starts_at=starts_at,
            ends_at=ends_at,
            settled_microdollars=spent,
        )

    return make


@pytest.fixture
def limit(workspace):
    def make(amount, scope="user", of=None, **given):
        given = {"window": "daily", "limit_microdollars": amount, **given}
        return Quota.objects.create(workspace=of or workspace, scope=scope, **given)

    return make


def lines(client, address=LIST):
    """Return the list's rows as texts, the newest first."""
    body = client.get(address).content.decode()
    table = body.partition('id="result_list"')[2]
    rows = table.partition("</table>")[0].split("<tr")[2:]
    return [" ".join(unescape(strip_tags(f"<tr{row}")).split()) for row in rows]


@pytest.fixture
def call(agent):
    """Leave a model call of somebody whose event told a name."""

    def make(place, actor, name):
        run = make_run(agent, actor={"id": actor, "name": name})
        UsageRecord.objects.create(
            workspace=agent.workspace,
            person=f"{place}:{actor}",
            run_id=run.public_id,
            model_name="m",
            provider_name="p",
            cost_source="missing",
        )
        return f"{place}:{actor}"

    return make


def test_a_person_of_a_bot_has_names(staff, call, workspace, spend, limit):
    bot = BotFactory.create(workspace=workspace, name="Support desk")
    person = call(bot.public_id, "4711", "Eve")
    window = spend(person)
    (line,) = lines(staff)
    assert "Eve Support desk · 4711" in line
    assert str(bot.public_id) not in line
    page = reverse("admin:langbot_agents_quotawindow_change", args=[window.pk])
    assert "Support desk · 4711" in staff.get(page).content.decode()
    PersonTier.objects.create(workspace=workspace, person=person, tier="pro")
    limit(5, person=person)
    for name in ("usagerecord", "persontier", "quota"):
        address = reverse(f"admin:langbot_agents_{name}_changelist")
        assert "Eve Support desk · 4711" in lines(staff, address)[0]


def test_an_agent_that_asked_for_a_person_is_not_the_person(staff, call, spend, agent):
    spend(call("api", "eve", "Eve"))
    asked = make_run(agent, actor={"id": "agent:helper", "name": "Helper"})
    UsageRecord.objects.create(
        workspace=agent.workspace,
        person="api:eve",
        run_id=asked.public_id,
        model_name="m",
        provider_name="p",
        cost_source="missing",
    )
    assert "Helper" not in lines(staff)[0]
    type(asked).objects.filter(pk=asked.pk).update(
        parent=type(asked).objects.exclude(pk=asked.pk).get(), depth=1
    )
    assert "Eve REST · eve" in lines(staff)[0]


def test_accounts_agents_workspaces_and_strangers_have_names(
    staff, agent, workspace, spend
):
    ada = get_user_model().objects.create_user("ada", first_name="Ada")
    gone = "0191d6f0-0000-7000-8000-000000000000:9"
    for subject, scope in (
        (f"api:user:{ada.pk}", "user"),
        (gone, "user"),
        (str(agent.pk), "agent"),
        ("", "workspace"),
    ):
        spend(subject, scope)
    of_workspace, of_agent, of_gone, of_ada = lines(staff)
    assert f"Ada REST · user:{ada.pk}" in of_ada
    assert "a deleted bot · 9" in of_gone
    assert f"{agent.name} one agent" in of_agent
    assert f"{workspace.name} the whole workspace" in of_workspace


def test_the_limit_that_holds_is_the_narrowest(staff, agent, spend, limit):
    limit(1_000_000)
    limit(2_000_000, scope="tier", tier="pro")
    limit(500_000, person="api:eve")
    limit(4_000_000, scope="agent", agent=agent)
    limit(8_000_000, scope="workspace")
    limit(9_000_000, of=WorkspaceFactory.create())
    PersonTier.objects.create(workspace=agent.workspace, person="api:pia", tier="pro")
    for subject, scope in (
        ("api:bob", "user"),
        ("api:pia", "user"),
        ("api:eve", "user"),
        (str(agent.pk), "agent"),
        ("", "workspace"),
    ):
        spend(subject, scope, spent=450_000)
    shown = [line.split(" begins anew ")[0] for line in reversed(lines(staff))]
    assert [line.rsplit(" ", 3)[1:] for line in shown] == [
        ["$1.000000", "45.0", "%"],
        ["$2.000000", "22.5", "%"],
        ["$0.500000", "90.0", "%"],
        ["$4.000000", "11.2", "%"],
        ["$8.000000", "5.6", "%"],
    ]


def test_what_has_no_limit_or_is_over_shows_none(staff, spend, limit):
    spend("api:bob")
    ends = window_of("daily", datetime.now(UTC))[1]
    (line,) = lines(staff)
    assert "— — begins anew" in line
    assert f"{ends:%Y-%m-%d}" in line
    limit(100, window="daily")
    spend("api:bob", days_ago=3)
    (now, before) = lines(staff)
    assert "$0.000100 100.0 % begins anew" in now
    assert "— — ended" in before
    Quota.objects.update(enabled=False)
    assert "— — begins anew" in lines(staff)[0]


def test_a_full_page_takes_few_queries(staff, call, workspace, spend, limit):
    bots = BotFactory.create_batch(4, workspace=workspace)
    limit(1000)
    for number in range(50):
        place = bots[number % 4].public_id
        person = call(place, str(number), f"Name {number}")
        limit(number + 1, person=person)
        PersonTier.objects.create(workspace=workspace, person=person, tier="pro")
        spend(person)
    for name in ("quotawindow", "usagerecord", "quota", "persontier"):
        address = reverse(f"admin:langbot_agents_{name}_changelist")
        staff.get(address)  # what a process remembers
        with CaptureQueriesContext(connection) as queries:
            staff.get(address)
        assert len(queries) <= MOST_QUERIES, (name, len(queries))
    assert "Name 49" in lines(staff)[0]
