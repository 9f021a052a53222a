import base64
import json
import threading
import time

import pytest
from django.db import connection

from artifacts.models import Artifact
from platforms import views
from platforms.adapters.webhook.signing import signature, signed_headers, verified_id
from platforms.models import Bot
from runners.models import AgentRun, EventLog, QueuedMessage, TranscriptItem
from tests.factories import AgentBindingFactory, AgentFactory, BotFactory
from tests.platforms.receiver import SECRET, webhook_bot

pytestmark = [pytest.mark.django_db, pytest.mark.urls("platforms.urls")]

HELLO = {"conversation": "room", "actor": {"id": "ada", "name": "Ada"}, "text": "Hello"}


@pytest.fixture
def bot(workspace, agent):
    AgentBindingFactory(agent=agent)
    return webhook_bot("", workspace=workspace, slug="door")


def call(client, body, *, call_id="call-1", secret=SECRET, slug="door", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = signed_headers(secret, call_id, raw) | headers
    return client.post(
        f"/webhooks/{slug}/",
        raw,
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in given.items()},
    )


def test_signed_message_starts_a_run(client, bot):
    answer = call(client, HELLO | {"thread": "t", "data": {"a": 1}})
    assert answer.status_code == 202
    run, event = AgentRun.objects.get(), EventLog.objects.get()
    document = answer.json()
    assert document["status"] == "started"
    assert document["run_id"] == str(run.public_id)
    assert document["conversation"] == str(run.conversation.public_id)
    assert document["event_id"] == event.event_id
    assert document["duplicate"] is False
    assert event.source == f"bot:{bot.public_id}"
    assert event.actor == {"id": "ada", "name": "Ada", "type": "user"}
    assert event.delivery["reply_target"] == {"message_id": "call-1"}
    assert TranscriptItem.objects.get().text == "Hello"
    bot.refresh_from_db()
    assert bot.last_event_at is not None


def test_repeat_of_a_call_is_a_duplicate(client, bot):
    first, second = call(client, HELLO), call(client, HELLO)
    assert second.status_code == 202
    assert second.json()["status"] == "duplicate"
    assert second.json()["run_id"] == first.json()["run_id"]
    assert AgentRun.objects.count() == 1


def test_repeat_of_a_message_id_is_a_duplicate_only_in_its_place(client, bot):
    body = HELLO | {"message_id": "7"}
    assert call(client, body, call_id="1").json()["status"] == "started"
    assert call(client, body, call_id="2").json()["status"] == "duplicate"
    elsewhere = body | {"conversation": "other"}
    assert call(client, elsewhere, call_id="3").json()["status"] == "started"


@pytest.mark.parametrize("message_id", ["", "-1"])
def test_missing_message_ids_are_told_apart_by_the_call(client, bot, message_id):
    body = HELLO | {"message_id": message_id}
    assert call(client, body, call_id="1").json()["status"] == "started"
    assert call(client, body, call_id="2").json()["status"] == "queued"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_twenty_copies_at_once_make_one_run(client, bot, attempt):
    answers = []

    def work():
        try:
            answers.append(call(client, HELLO))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    statuses = sorted(answer.json()["status"] for answer in answers)
    assert statuses == ["duplicate"] * 19 + ["started"]
    assert AgentRun.objects.count() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook_signature": "v1,bm90IGl0"},
        {"webhook_signature": ""},
        {"webhook_signature": "é"},
        {"webhook_timestamp": "1"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "9" * 400},
        {"webhook_id": "another"},
        {"webhook_id": ""},
    ],
)
def test_bad_signature_is_refused(client, bot, headers):
    answer = call(client, HELLO, **headers)
    assert answer.status_code == 401
    assert answer["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "signature_invalid"
    assert SECRET not in answer.content.decode()
    assert not EventLog.objects.exists()


def test_bot_without_a_secret_lets_nobody_in(client, bot):
    Bot.objects.update(secrets={})
    assert call(client, HELLO, secret="").status_code == 401


def test_one_of_several_signatures_is_enough(client, bot):
    raw, now = json.dumps(HELLO).encode(), int(time.time())
    signatures = f"v1,b2xk {signature(SECRET, 'call-1', now, raw)}"
    answer = call(client, raw, webhook_signature=signatures)
    assert answer.status_code == 202


def test_signature_agrees_with_the_standard():
    """The worked example of standardwebhooks.com."""
    value = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert value == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_header_names_have_no_case(bot):
    headers = signed_headers(SECRET, "id", b"body")
    assert verified_id(SECRET, headers, b"body") == "id"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        {},
        HELLO | {"actor": {}},
        HELLO | {"conversation": ""},
        HELLO | {"conversation": "x" * 201},
        HELLO | {"text": "  "},
        HELLO | {"typo": 1},
        HELLO | {"type": "Not A Name"},
        HELLO | {"contents": "x"},
        HELLO | {"data": []},
    ],
)
def test_bad_body_names_the_problem(client, bot, body):
    answer = call(client, body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_body"
    assert not EventLog.objects.exists()


def test_body_that_no_database_can_keep_is_made_storable(client, bot):
    raw = (
        rb'{"conversation": "room", "actor": {"id": "a\u0000", "name": "\ud800"},'
        rb' "text": "x\u0000y", "data": {"n": 1e999, "m": NaN}}'
    )
    assert call(client, raw).status_code == 202
    assert EventLog.objects.get().input["text"] == "x�y"
    assert EventLog.objects.get().data == {"n": None, "m": None}


@pytest.mark.parametrize("case", ["unknown", "disabled", "no webhooks"])
def test_closed_doors_are_not_found(client, bot, case):
    slug = "nobody" if case == "unknown" else "door"
    if case == "disabled":
        Bot.objects.update(enabled=False)
    elif case == "no webhooks":
        Bot.objects.update(adapter="web")
    answer = call(client, HELLO, slug=slug)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_body_over_a_mebibyte_is_refused(client, bot):
    answer = call(client, HELLO | {"data": {"x": "y" * views.BODY_BYTES}})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_text_over_the_limit_is_refused(client, bot):
    answer = call(client, HELLO | {"text": "x" * 32_001})
    assert answer.status_code == 413
    assert answer.json()["code"] == "input_too_large"


def test_only_post_is_taken(client, bot):
    assert client.get("/webhooks/door/").status_code == 405


def test_full_queue_says_when_to_come_back(client, bot):
    answers = [call(client, HELLO, call_id=str(number)) for number in range(12)]
    assert [answer.status_code for answer in answers] == [202] * 11 + [429]
    last = answers[-1]
    assert last.json()["code"] == "queue_full"
    assert int(last["Retry-After"]) > 0
    assert answers[10].json()["buffer_length"] == 10
    assert QueuedMessage.objects.count() == 10
    assert EventLog.objects.count() == 11


def test_too_many_calls_are_slowed_down(client, bot, monkeypatch):
    monkeypatch.setattr(views, "CALLS_PER_MINUTE", 3)
    answers = [call(client, HELLO, call_id=str(number)) for number in range(4)]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1]["Retry-After"]) <= 20


def test_without_redis_nobody_is_slowed_down(client, bot, settings, monkeypatch):
    from langbot.lib.redis import quick_client

    monkeypatch.setattr(views, "CALLS_PER_MINUTE", 1)
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": "redis://127.0.0.1:1/0"}
    quick_client.cache_clear()
    try:
        for number in range(3):
            assert call(client, HELLO, call_id=str(number)).status_code == 202
    finally:
        quick_client.cache_clear()


def test_event_nobody_answers_is_ignored_with_the_reason(client, bot, agent):
    agent.bindings.all().delete()
    answer = call(client, HELLO)
    assert answer.status_code == 202
    assert answer.json()["status"] == "ignored"
    assert EventLog.objects.get().outcome_reason


def test_event_without_text_reaches_an_agent_that_takes_it(client, workspace):
    agent = AgentFactory(workspace=workspace, event_types=["group.*"])
    AgentBindingFactory(agent=agent, event_pattern="group.*")
    webhook_bot("", workspace=workspace, slug="door")
    body = {"type": "group.member_joined", "conversation": "room", "actor": {"id": "b"}}
    assert call(client, body).json()["status"] == "started"
    assert not TranscriptItem.objects.exists()


def test_files_are_stored_as_artifacts(client, bot):
    data = base64.b64encode(b"file").decode()
    body = HELLO | {"attachments": [{"name": "a.txt", "content": data}]}
    assert call(client, body).status_code == 202
    stored = EventLog.objects.get().input["attachments"][0]
    assert stored["artifact_id"] == str(Artifact.objects.get().public_id)
    assert data not in str(EventLog.objects.values_list("input"))


def test_params_reach_the_runner_without_secrets(client, bot):
    given = {"locale": "fr", "_private": 1, "Api_Key": "x", "accessToken": "y"}
    call(client, HELLO | {"params": given})
    delivery = EventLog.objects.get().delivery
    assert delivery["adapter"] == {"extra": {"params": {"locale": "fr"}}}


def test_sender_cannot_choose_the_source(client, bot):
    other = BotFactory.create(workspace=bot.workspace)
    answer = call(client, HELLO | {"source": f"bot:{other.public_id}"})
    assert answer.status_code == 400
