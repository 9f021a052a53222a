"""Staff see money, people see percent, and a used-up budget answers 429."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from agents.models import (
    Agent,
    AgentBinding,
    Model,
    ModelProvider,
    Quota,
    UsageRecord,
)
from agents.resources import usage_reports
from agents.resources.budgets import Spender
from agents.resources.llm import model_specs
from agents.resources.reserving import CallFacts, begin_call, settle_call
from langbot.core.tokens import create_api_token
from platforms.models import Bot

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    return Model.objects.create(provider=provider, name="big")


@pytest.fixture
def spend(workspace, agent, model, user):
    def call(microdollars, person=None):
        spender = Spender(workspace.pk, agent.pk, person or f"api:user:{user.pk}")
        name = str(model.public_id)
        spec = model_specs([name], workspace.pk)[name]
        opened = begin_call(CallFacts(spender=spender, model=spec))
        told = {} if microdollars is None else {"cost": microdollars / 1_000_000}
        tokens = {"prompt_tokens": 10, "completion_tokens": 5}
        settle_call(opened, {**tokens, **told})

    return call


def client_of(workspace, group):
    person = get_user_model().objects.create_user(f"one of {group}")
    person.groups.add(Group.objects.get(name=group))
    workspace.memberships.create(user=person)
    client = APIClient()
    _, token = create_api_token(person, workspace, "tests")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_totals_say_what_is_known_and_how_much_is_not(api_client, spend):
    spend(100)
    spend(None)
    found = api_client.get("/api/v1/usage/").json()
    assert found["totals"] == {
        "calls": 2,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "cost_microdollars": 100,
        "calls_without_cost": 1,
    }
    (day,) = found["results"]
    assert day["key"] == f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.mark.parametrize("group", ["agent", "model", "user", "day"])
def test_totals_are_grouped(api_client, spend, agent, user, group):
    spend(100)
    spend(300, person="api:user:0")
    found = api_client.get(f"/api/v1/usage/?group={group}").json()["results"]
    keys = {
        "agent": [agent.slug],
        "model": ["Cloud/big"],
        "user": ["api:user:0", f"api:user:{user.pk}"],
        "day": [f"{datetime.now(UTC):%Y-%m-%d}"],
    }
    assert [one["key"] for one in found] == keys[group]
    assert sum(one["cost_microdollars"] for one in found) == 400


def test_of_many_groups_the_dearest_are_told(api_client, spend, monkeypatch):
    monkeypatch.setattr(usage_reports, "GROUPS_AT_MOST", 2)
    for cost, person in ((1, "a"), (None, "b"), (3, "c"), (2, "d")):
        spend(cost, person=f"api:user:{person}")
    found = api_client.get("/api/v1/usage/?group=user").json()["results"]
    assert [one["key"] for one in found] == ["api:user:c", "api:user:d"]


def test_totals_are_narrowed(api_client, spend, agent, model):
    spend(100)
    wanted = {"agent": agent.slug, "model": str(model.public_id)}
    assert api_client.get("/api/v1/usage/", wanted).json()["totals"]["calls"] == 1
    later = datetime.now(UTC) + timedelta(hours=1)
    elsewhere: tuple[dict[str, Any], ...] = (
        {"agent": "other"},
        {"user": "api:user:0"},
        {"run": agent.public_id},
        {"created_after": later, "created_before": later + timedelta(hours=1)},
    )
    for given in elsewhere:
        found = api_client.get("/api/v1/usage/", given)
        assert found.json()["totals"]["calls"] == 0, given


@pytest.mark.parametrize(
    "query",
    [
        "group=hour",
        "created_after=yesterday",
        "created_after=2020-01-01T00:00:00Z",
        "model=x",
        "created_before=0001-01-01T00:00:00Z&created_after=9999-01-01T00:00:00Z",
    ],
)
def test_bad_questions_are_refused_or_empty(api_client, query):
    response = api_client.get(f"/api/v1/usage/?{query}")
    assert response.status_code in {200, 400}
    assert response.status_code == 400 or response.json()["totals"]["calls"] == 0


def test_totals_are_for_staff(workspace, spend):
    spend(100)
    assert client_of(workspace, "viewers").get("/api/v1/usage/").status_code == 403
    found = client_of(workspace, "auditors").get("/api/v1/usage/").json()
    assert found["totals"]["cost_microdollars"] == 100


def test_money_needs_its_own_right(workspace, spend):
    spend(100)
    client = client_of(workspace, "viewers")
    group = Group.objects.get(name="viewers")
    from django.contrib.auth.models import Permission

    group.permissions.add(Permission.objects.get(codename="view_usagerecord"))
    found = client.get("/api/v1/usage/").json()
    for one in (found["totals"], *found["results"]):
        assert (one["calls"], one["cost_microdollars"]) == (1, None)


def quota(workspace, **fields):
    given = {"scope": "user", "window": "daily", "limit_microdollars": 1000}
    return Quota.objects.create(workspace=workspace, **{**given, **fields})


def test_people_see_percent_and_reset_only(api_client, workspace, spend):
    quota(workspace)
    spend(333)
    found = api_client.get("/api/v1/usage/me/").json()
    assert set(found) == {"tier", "daily", "weekly"}
    assert (found["tier"], found["weekly"]) == ("free", None)
    assert set(found["daily"]) == {"percent", "resets_at"}
    assert found["daily"]["percent"] == 33.3


def test_a_hundred_percent_is_said_only_at_the_end(api_client, workspace, spend):
    quota(workspace)
    spend(999)
    assert api_client.get("/api/v1/usage/me/").json()["daily"]["percent"] == 99.9
    spend(5000)
    assert api_client.get("/api/v1/usage/me/").json()["daily"]["percent"] == 100.0


def test_what_was_spent_before_the_quota_counts(api_client, workspace, spend):
    spend(500)
    quota(workspace)
    assert api_client.get("/api/v1/usage/me/").json()["daily"]["percent"] == 50.0


def send(client, agent, **more):
    body = {"text": "Hello", **more}
    return client.post(f"/api/v1/agents/{agent.public_id}/test/", body, format="json")


@pytest.mark.parametrize("scope", ["user", "agent", "workspace"])
def test_a_used_up_budget_answers_429(api_client, workspace, agent, spend, scope):
    named = {"agent": agent} if scope == "agent" else {}
    quota(workspace, scope=scope, **named)
    spend(999)
    assert send(api_client, agent).status_code == 201
    spend(1)
    response = send(api_client, agent)
    assert response.status_code == 429
    assert response["Content-Type"] == "application/problem+json"
    assert 0 < int(response["Retry-After"]) <= 24 * 3600
    problem = response.json()
    assert (problem["code"], problem["window"]) == ("quota_exceeded", "daily")
    assert datetime.fromisoformat(problem["resets_at"]) > datetime.now(UTC)
    assert "budget is used up" in problem["detail"]
    assert "1000" not in str(problem)


def test_whoever_meets_a_busy_conversation_is_told_of_that_first(
    api_client, workspace, agent, spend
):
    """AG-02: the busy check comes before the budget, which is the next turn's."""
    asked = {"agent": agent.slug, "text": "Hello"}
    first = api_client.post("/api/v1/conversations/", {"key": "room"}, format="json")
    messages = f"/api/v1/conversations/{first.json()['id']}/messages/"
    assert api_client.post(messages, asked, format="json").status_code == 201
    quota(workspace, scope="workspace")
    spend(1000)
    asked["text"] = "And this?"
    queued = api_client.post(messages, asked, format="json")
    assert (queued.status_code, queued.json()["status"]) == (202, "queued")
    Agent.objects.filter(pk=agent.pk).update(multitask_strategy="reject")
    asked["text"] = "Well?"
    refused = api_client.post(messages, asked, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "conversation_busy")
    assert send(api_client, agent).status_code == 429  # a conversation of its own


def test_a_repeat_of_an_accepted_event_is_answered_as_before(
    api_client, workspace, agent, spend
):
    AgentBinding.objects.create(agent=agent, scope="workspace")
    event = {"type": "message.received", "event_id": "e-1", "input": {"text": "Hi"}}
    first = api_client.post("/api/v1/events/", event, format="json")
    assert first.status_code == 202
    quota(workspace, scope="workspace")
    spend(1000)
    again = api_client.post("/api/v1/events/", event, format="json")
    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    event["event_id"] = "e-2"
    new = api_client.post("/api/v1/events/", event, format="json")
    assert new.status_code == 429


def test_the_openai_door_says_so_in_its_words(api_client, workspace, agent, spend):
    quota(workspace, scope="workspace")
    spend(1000)
    asked = {"model": agent.slug, "messages": [{"role": "user", "content": "Hi"}]}
    response = api_client.post("/v1/chat/completions", asked, format="json")
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "quota_exceeded"
    assert int(response["Retry-After"]) > 0


def test_webhooks_of_bots_get_the_time_too(workspace, agent, spend):
    from platforms.views import _problem
    from runners.errors import BudgetUsedUpError
    from runners.spending import check_admission

    bot = Bot.objects.create(workspace=workspace, slug="b", name="B", adapter="web")
    quota(workspace, scope="workspace")
    spend(1000)
    with pytest.raises(BudgetUsedUpError) as caught:
        check_admission(workspace.pk, agent.pk, bot.public_id, {"id": "u1"})
    problem = _problem(caught.value)
    assert problem.status_code == 429
    assert (problem.retry_after or 0) > 0


def test_records_are_never_changed(spend):
    spend(1)
    row = UsageRecord.objects.get()
    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(TypeError):
        UsageRecord.objects.all().delete()
