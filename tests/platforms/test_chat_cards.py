"""Cards in the chat: the visitor answers questions, others approve, all see it."""

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from platforms.chat import cards, visits
from runners.actions import Decider, Decision, resolve_action
from runners.choices import EventType
from runners.models import AgentRun, PendingAction
from tests.factories import BotFactory, WorkspaceFactory
from tests.platforms.chat_client import opened, play
from tests.runners.admin_rows import make_action

pytestmark = pytest.mark.django_db(transaction=True)


async def asked(page, kind="question", **fields):
    """Let the visitor's run ask something."""
    run_id = (await page.say("hello", f"k-{kind}"))["run_id"]
    return await sync_to_async(_make)(run_id, kind, **fields)


def _make(run_id, kind, **fields):
    run = AgentRun.objects.select_related("agent", "conversation")
    return make_action(run.get(public_id=run_id), kind, **fields)


async def again(page):
    """Come back, which shows the cards of now."""
    await page.send(type="auth", token=page.token)


async def card(page):
    frame = await page.frame("cards")
    return frame["items"][-1]


@sync_to_async
def decide(action, decision, name="boss", **more):
    given = Decision(decision=decision, **more)
    resolve_action(action.public_id, given, Decider(name=name))


async def test_a_visitor_answers_a_question(bot):
    async with opened() as page:
        await page.auth()
        action = await asked(page)
        await again(page)
        shown = await card(page)
        assert (shown["kind"], shown["status"]) == ("question", "open")
        assert shown["form"]["title"] == "Which size?"
        answer = {"type": "answer", "action_id": str(action.public_id)}
        await page.send(**answer, values={"size": "xxl"})
        refused = await page.frame("error")
        assert refused["code"] == "invalid_decision"
        assert refused["action_id"] == str(action.public_id)
        await page.send(**answer, values={"size": "m"})
        assert (await card(page))["status"] == "responded"
        await page.send(**answer, values={"size": "l"})
        assert (await page.frame("error"))["code"] == "action_resolved"
    await action.arefresh_from_db()
    assert action.decision["values"] == {"size": "m"}
    assert action.decided_by_name == "Visitor"


async def test_a_malformed_question_leaves_the_other_cards(bot):
    """LH-15."""
    async with opened() as page:
        await page.auth()
        malformed = await asked(page, "question", form="x")
        good = await sync_to_async(make_action)(malformed.run)
        await again(page)
        frame = await page.frame("cards")
        assert [one["id"] for one in frame["items"]] == [str(good.public_id)]


async def test_a_question_may_be_dismissed(bot):
    async with opened() as page:
        await page.auth()
        action = await asked(page)
        await again(page)
        await page.send(type="answer", action_id=str(action.public_id), values=None)
        while (await card(page))["status"] == "open":
            pass
    await action.arefresh_from_db()
    assert action.status == "rejected"


async def test_a_visitor_sees_that_an_approval_waits_and_no_more(bot):
    async with opened() as page:
        await page.auth()
        action = await asked(page, "approval", tool_name="transfer_money")
        await again(page)
        shown = await card(page)
        assert (shown["kind"], shown["status"]) == ("approval", "open")
        text = json.dumps(shown)
        assert "transfer_money" not in text
        assert "euro" not in text
        refused: tuple[Any, ...] = ({}, None)
        for values in refused:
            named = str(action.public_id)
            await page.send(type="answer", action_id=named, values=values)
            assert (await page.frame("error"))["code"] == "not_found"
    await action.arefresh_from_db()
    assert action.status == "open"


async def test_all_pages_of_a_visitor_see_what_was_decided_elsewhere(bot):
    async with opened() as page, opened() as other:
        await page.auth()
        await other.auth(page.token)
        action = await asked(page, "approval")
        for one in (page, other):
            await again(one)
            assert (await card(one))["status"] == "open"
        await decide(action, "approve")
        for one in (page, other):
            assert (await card(one))["status"] == "approved"


async def test_an_event_of_the_run_shows_its_card_at_once(bot):
    async with opened() as page:
        await page.auth()
        run_id = (await page.say("hello", "k1"))["run_id"]
        played = await sync_to_async(play)(run_id)
        await sync_to_async(_make)(run_id, "approval")
        await sync_to_async(played.add)(EventType.ACTION_REQUESTED, {"action": "x"})
        assert (await card(page))["status"] == "open"


async def test_a_stranger_answers_nothing(bot):
    async with opened() as page, opened() as stranger:
        await page.auth()
        action = await asked(page)
        await stranger.auth()
        answer = {"type": "answer", "action_id": str(action.public_id)}
        await stranger.send(**answer, values={"size": "m"})
        assert (await stranger.frame("error"))["code"] == "not_found"
    async with opened() as nobody:
        await nobody.send(**answer, values={"size": "m"})
        assert (await nobody.frame("error"))["code"] == "not_authenticated"
    await action.arefresh_from_db()
    assert action.status == "open"


@pytest.mark.parametrize("wrong", [{"action_id": "x"}, {}, {"values": [1]}])
async def test_wrong_answers_are_refused_and_the_socket_stays(bot, wrong):
    async with opened() as page:
        await page.auth()
        await page.send(type="answer", **wrong)
        assert (await page.frame("error"))["code"] == "invalid_frame"
        await page.auth(page.token)


# Approvals by signed-in people


def person(workspace, *rights):
    user = get_user_model().objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    workspace.memberships.create(user=user)
    return user


def client_of(user, **options):
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def waiting(bot):
    """What waits in a conversation of the bot's chat."""
    visit = visits.open_visit("web")
    run_id = visits.say(visit, "hello", "k1")["run_id"]
    return _make(run_id, "approval")


def address(action, slug="web"):
    return f"/chat/{slug}/actions/{action.public_id}/"


def test_who_may_decide_sees_what_and_decides(bot, waiting):
    user = person(bot.workspace, "resolve_action")
    client = client_of(user)
    page = client.get("/chat/web/").context["page"]
    assert page["decides"]["address"] == "/chat/web/actions/"
    shown = client.get(address(waiting)).json()
    assert shown["tool"] == "pay"
    assert shown["arguments"] == {"euro": 5, "api_key": "[redacted]"}
    given = {"decision": "approve", "reason": "fine"}
    said = client.post(address(waiting), given, content_type="application/json")
    assert said.json()["status"] == "approved"
    late = client.post(address(waiting), given, content_type="application/json")
    assert late.status_code == 409
    assert "ada decided at" in late.json()["detail"]
    waiting.refresh_from_db()
    assert (waiting.decided_by, waiting.decision["reason"]) == (user, "fine")


def test_a_decision_needs_the_token_of_a_page(bot, waiting):
    client = client_of(
        person(bot.workspace, "resolve_action"), enforce_csrf_checks=True
    )
    given = {"decision": "approve"}
    kind = "application/json"
    assert client.post(address(waiting), given, content_type=kind).status_code == 403
    token = client.get("/chat/web/").context["page"]["decides"]["csrf"]
    headers = {"X-CSRFToken": token}
    there = address(waiting)
    said = client.post(there, given, content_type=kind, headers=headers)
    assert said.status_code == 200


@pytest.mark.parametrize(
    "body", ["{", "[]", "{}", '{"decision": "edit"}', '{"decision": "respond"}']
)
def test_a_wrong_body_decides_nothing(bot, waiting, body):
    client = client_of(person(bot.workspace, "resolve_action"))
    kind = "application/json"
    assert client.post(address(waiting), body, content_type=kind).status_code == 400
    waiting.refresh_from_db()
    assert waiting.status == "open"


def test_who_may_not_decide_is_told_nothing(bot, waiting):
    elsewhere = WorkspaceFactory.create(slug="elsewhere")
    users = [person(bot.workspace), get_user_model().objects.create_user("eve")]
    users[1].user_permissions.set(Permission.objects.filter(codename="resolve_action"))
    elsewhere.memberships.create(user=users[1])
    for client in (Client(), *map(client_of, users)):
        assert client.get("/chat/web/").context["page"]["decides"] is None
        for method in (client.get, client.post):
            assert method(address(waiting)).status_code == 403


def test_a_visitors_page_sets_no_cookie(bot, client):
    assert not client.get("/chat/web/").cookies


def test_an_action_of_another_chat_is_not_found(bot, waiting):
    BotFactory.create(workspace=bot.workspace, slug="second")
    client = client_of(person(bot.workspace, "resolve_action"))
    assert client.get(address(waiting, "second")).status_code == 404
    question = make_action(waiting.run, "question")
    assert client.get(address(question)).status_code == 404


def test_cards_of_one_visitor_are_their_own(bot, waiting):
    other = visits.open_visit("web")
    assert cards.cards_of(other) == []
    assert PendingAction.objects.count() == 1
