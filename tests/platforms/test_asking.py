"""Where cards cannot be shown, a text with a signed link asks."""

import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.db import close_old_connections, connection
from django.test import Client

from platforms import outbox
from platforms.asking import ask_elsewhere, link_of
from runners.models import AgentRun, Conversation, Delivery, PendingAction
from tests.factories import AgentFactory, BotFactory
from tests.platforms.receiver import Receiver, webhook_bot
from tests.runners.admin_rows import make_action, make_run

pytestmark = pytest.mark.django_db(transaction=True)
SECRET_ARGUMENT = "sk-1"
RACES = 10


@pytest.fixture
def receiver(settings):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["127.0.0.1"]}
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def bot(receiver):
    return webhook_bot(receiver.url)


def asked_by(bot, kind="approval", **fields):
    """Return what a run of the bot asks."""
    agent = AgentFactory.create(workspace=bot.workspace, name="Desk")
    place = Conversation.objects.create(
        workspace=bot.workspace, key=f"c{agent.pk}", bot_id=bot.public_id
    )
    run = make_run(agent, "requires_action", bot_id=bot.public_id, conversation=place)
    return make_action(run, kind, **fields)


def link(action):
    return urlsplit(link_of(action.public_id, action.expires_at)).path


def status_of(action):
    return PendingAction.objects.get(pk=action.pk).status


def test_a_link_goes_through_the_outbox_and_is_stored_nowhere(bot, receiver):
    action = asked_by(bot, reason="It costs money")
    assert ask_elsewhere() == 1
    assert ask_elsewhere() == 0
    sent = outbox.deliver(Delivery.objects.get().pk)
    assert sent is not None
    (text,) = receiver.texts()
    address = link_of(action.public_id, action.expires_at)
    assert address in text
    for words in ("Desk: May the agent use pay?", "It costs money"):
        assert words in text
    assert SECRET_ARGUMENT not in text
    stored = str(Delivery.objects.values().get())
    assert "/actions/" not in stored
    assert receiver.calls[0]["body"]["action"]["id"] == str(action.public_id)


def test_a_question_is_said_once(bot, receiver):
    asked = {"title": "Which size?", "fields": [], "actions": []}
    form = {**asked, "fallback_text": "Which size? M or L."}
    asked_by(bot, "question", form=form, reason="Which size?")
    ask_elsewhere()
    outbox.deliver(Delivery.objects.get().pk)
    (text,) = receiver.texts()
    first, second, address = text.splitlines()
    assert first == "Desk: Which size? M or L."
    assert second.startswith("Answer here until ")
    assert "/actions/" in address


def test_a_repeated_attempt_sends_the_same_link(bot, receiver):
    asked_by(bot)
    ask_elsewhere()
    answers = iter([500, 200])
    receiver.answer = lambda call: next(answers)
    row = Delivery.objects.get()
    outbox.deliver(row.pk)
    Delivery.objects.update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
    outbox.deliver(row.pk)
    first, second = receiver.texts()
    assert first == second


def test_only_what_needs_a_text_is_told(bot):
    asked_by(BotFactory.create(workspace=bot.workspace, adapter="web"))
    asked_by(bot, expires_at=datetime.now(UTC))
    asked_by(bot, status="approved")
    AgentRun.objects.filter(pk=asked_by(bot).run_id).update(dry_run=True)
    AgentRun.objects.filter(pk=asked_by(bot).run_id).update(bot_id=None)
    silent = {"delivery_policy": {"reply": False}}
    AgentRun.objects.filter(pk=asked_by(bot).run_id).update(snapshot=silent)
    assert ask_elsewhere() == 0
    assert not Delivery.objects.exists()


def test_many_that_look_write_one_message(bot):
    for _race in range(RACES):
        asked_by(bot)
        barrier = threading.Barrier(4)

        def look(barrier=barrier):
            barrier.wait(30)
            try:
                ask_elsewhere()
            finally:
                close_old_connections()
                connection.close()

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert Delivery.objects.count() == RACES


def test_looking_decides_nothing_and_tells_nobody_the_address(bot, client):
    action = asked_by(bot)
    for _again in range(2):
        answer = client.get(link(action), {"decision": "approve"})
    assert answer.status_code == 200
    body = answer.content.decode()
    assert "May the agent use pay?" in body
    assert "&quot;euro&quot;: 5" in body
    assert SECRET_ARGUMENT not in body
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "noindex" in answer["X-Robots-Tag"]
    assert answer["Cache-Control"] == "no-store"
    assert client.head(link(action)).status_code == 405
    assert status_of(action) == "open"


@pytest.mark.parametrize(
    ("decision", "status"), [("approve", "approved"), ("reject", "rejected")]
)
def test_a_post_decides_once(bot, decision, status):
    strict = Client(enforce_csrf_checks=True)  # as a browser without cookies
    action = asked_by(bot)
    answer = strict.post(link(action), {"decision": decision, "reason": "because"})
    assert answer.status_code == 200
    action.refresh_from_db()
    assert (action.status, action.decision["reason"]) == (status, "because")
    assert action.decided_by_name == "Somebody with the link"
    again = strict.post(link(action), {"decision": "approve"})
    assert again.status_code == 409
    assert "Somebody with the link decided at" in again.content.decode()
    used = strict.get(link(action))
    assert used.status_code == 200
    assert "Somebody with the link decided at" in used.content.decode()
    assert "<form" not in used.content.decode()


@pytest.mark.parametrize(
    "more",
    [
        {"decision": "edit", "arguments": '{"euro": 500}'},
        {"decision": "respond", "values": "{}"},
        {"decision": ""},
        {},
    ],
)
def test_a_link_decides_nothing_but_what_is_asked(bot, client, more):
    action = asked_by(bot)
    answer = client.post(link(action), more)
    assert answer.status_code == 400
    assert status_of(action) == "open"


def test_a_link_allows_once_only(bot, client):
    action = asked_by(bot)
    client.post(link(action), {"decision": "approve", "scope": "always"})
    action.refresh_from_db()
    assert action.decision["scope"] == "once"
    assert not action.grants.exists()


def test_a_question_is_answered_by_its_form(bot, client):
    action = asked_by(bot, "question")
    body = client.get(link(action)).content.decode()
    assert "Which size?" in body
    wrong = client.post(link(action), {"decision": "respond:", "answer-size": "xxl"})
    assert wrong.status_code == 400
    assert "xxl is not one of the available choices" in wrong.content.decode()
    given = {"decision": "respond:", "answer-size": "l"}
    assert client.post(link(action), given).status_code == 200
    action.refresh_from_db()
    assert action.decision["values"] == {"size": "l", "gift": False}


@pytest.mark.parametrize("token", ["x", "a:b", "e30:abc", "…"])
def test_a_wrong_link_says_so(client, db, token):
    answer = client.get(f"/actions/{token}/")
    assert answer.status_code == 404
    assert "Was it copied whole?" in answer.content.decode()


def test_links_of_others_are_not_ours(bot, client, settings):
    action = asked_by(bot)
    claims = {"action": str(action.public_id), "until": 2**40}
    foreign = signing.Signer(salt="langbot.chat.visitor").sign_object(claims)
    assert (
        client.post(f"/actions/{foreign}/", {"decision": "approve"}).status_code == 404
    )
    good = link(action)
    settings.SECRET_KEY = "another key"
    assert client.post(good, {"decision": "approve"}).status_code == 404
    assert status_of(action) == "open"


def test_a_late_link_says_so(bot, client):
    action = asked_by(bot)
    address = link(action)
    late = urlsplit(link_of(action.public_id, datetime.now(UTC))).path
    answer = client.post(late, {"decision": "approve"})
    assert answer.status_code == 410
    assert "its time was up" in answer.content.decode()
    PendingAction.objects.update(expires_at=datetime.now(UTC))
    assert (
        "no longer asked"
        in client.post(address, {"decision": "approve"}).content.decode()
    )
    assert status_of(action) == "expired"  # whoever comes too late has it say so
