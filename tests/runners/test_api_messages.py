import threading
import time
from uuid import uuid4

import pytest
from django.db import connection

from agents.models import AgentBinding
from langbot.lib.conf import limits
from runners.clients.tokens import read_token
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.support import ledger

CONVERSATIONS = "/api/v1/conversations/"


@pytest.fixture
def conversation(api_client):
    response = api_client.post(CONVERSATIONS, {"key": "mine"}, format="json")
    assert response.status_code == 201, response.content
    return response.json()


@pytest.fixture
def url(conversation):
    return f"{CONVERSATIONS}{conversation['id']}/messages/"


@pytest.fixture
def say(api_client, url, agent):
    def say(text="hello", query="", headers=None, **content):
        content = {"text": text, "agent": agent.slug, **content}
        return api_client.post(url + query, content, format="json", headers=headers)

    return say


def test_an_idle_conversation_starts_a_run(say, conversation, user, agent):
    response = say(metadata={"a": 1}, dry_run=True)
    assert response.status_code == 201
    answer = response.json()
    run = AgentRun.objects.select_related("event").get()
    assert read_token(answer.pop("token"), run.public_id).user_id == str(user.pk)
    assert answer == {
        "status": "started",
        "run_id": str(run.public_id),
        "message_id": str(run.event.public_id),
        "conversation": conversation["id"],
    }
    assert run.agent == agent
    assert run.dry_run
    assert run.metadata == {"a": 1}
    assert run.event.actor["id"] == f"user:{user.pk}"
    assert run.event.source.startswith("api:")
    assert response["Location"].endswith(f"/api/v1/runs/{run.public_id}/")


def test_a_busy_conversation_queues(say, api_client, conversation):
    running = say().json()["run_id"]
    response = say("second")
    assert response.status_code == 202
    message = QueuedMessage.objects.get()
    assert response.json() == {
        "status": "queued",
        "run_id": None,
        "message_id": str(message.public_id),
        "conversation": conversation["id"],
        "buffer_length": 1,
        "max_buffer_length": limits().follow_ups,
        "turn_in_flight": running,
    }
    queued = api_client.get(f"/api/v1/queued/{message.public_id}/").json()
    assert (queued["status"], queued["run_id"]) == ("queued", None)


def test_a_full_queue_refuses_the_newcomer(say):
    for number in range(limits().follow_ups + 1):
        say(f"message {number}")
    response = say("one too many")
    assert response.status_code == 429
    assert response.json()["code"] == "queue_full"
    assert response.json()["buffer_length"] == limits().follow_ups
    assert int(response["Retry-After"]) > 0
    assert EventLog.objects.count() == limits().follow_ups + 1


def test_the_next_message_is_promoted_and_says_so(say, api_client):
    say()
    message_id = say("second").json()["message_id"]
    ledger.complete(ledger.begin(AgentRun.objects.get()))
    queued = api_client.get(f"/api/v1/queued/{message_id}/").json()
    assert queued["status"] == "promoted"
    run = AgentRun.objects.order_by("-pk")[0]
    assert queued["run_id"] == str(run.public_id)
    assert run.event.input["text"] == "second"


def test_the_same_client_key_is_one_message(say):
    first = say(client_key="k1")
    again = say(client_key="k1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["status"] == "duplicate"
    assert again.json()["run_id"] == first.json()["run_id"]
    assert AgentRun.objects.count() == 1


def test_an_idempotency_key_is_one_message(say):
    headers = {"Idempotency-Key": "m-1"}
    first, again = say(headers=headers), say(headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert AgentRun.objects.count() == 1


def test_without_an_agent_the_binding_decides(api_client, url, agent):
    ignored = api_client.post(url, {"text": "hi"}, format="json")
    assert ignored.status_code == 200
    assert ignored.json()["status"] == "ignored"
    assert ignored.json()["run_id"] is None
    AgentBinding.objects.create(agent=agent, scope="workspace")
    started = api_client.post(url, {"text": "hi"}, format="json")
    assert started.status_code == 201


def test_a_conversation_stays_with_the_agent_that_was_named(say, api_client, url):
    say()
    ledger.complete(ledger.begin(AgentRun.objects.get()))
    response = api_client.post(url, {"text": "and then?"}, format="json")
    assert response.status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        {"text": None},
        {"text": ""},
        {"text": "x" * 32_001},
        {"text": ["a"]},
        {"agent": "nobody"},
        {"agent": str(uuid4())},
        {"files": ["x"]},
        {"files": [str(uuid4())]},
        {"files": [str(uuid4())] * 21},
        {"parent": str(uuid4())},
        {"client_key": "x" * 101},
        {"metadata": "x"},
        {"metadata": {"x": "y" * 20_000}},
        {"dry_run": "maybe"},
        {"surprise": 1},
    ],
)
def test_wrong_fields_are_named_and_nothing_is_written(say, content):
    response = say(**content)
    assert response.status_code == 400, response.content
    assert set(content) & set(response.json()["errors"])
    assert not EventLog.objects.exists()


def test_a_blank_text_is_refused_with_a_plain_error(say):
    response = say(" \n")
    assert response.status_code == 400
    assert response.json()["code"] == "empty_message"
    assert response.json()["detail"] == "The message is empty."
    assert not EventLog.objects.exists()


def test_the_text_may_be_as_long_as_the_limit(say):
    assert say("x" * limits().follow_up_characters).status_code == 201


@pytest.mark.parametrize("wait", ["x", "-1", "301", "nan", "inf", "1e9"])
def test_a_wrong_wait_is_refused_before_anything_is_written(say, wait):
    response = say(query=f"?wait={wait}")
    assert response.status_code == 400
    assert "wait" in response.json()["errors"]
    assert not EventLog.objects.exists()


def test_the_transcript_is_paged_newest_first(say, api_client, url):
    for number in range(3):
        say(f"question {number}")
        run = AgentRun.objects.order_by("-pk")[0]
        ledger.complete(ledger.begin(run), f"answer {number}")
    texts, page = [], f"{url}?limit=4"
    while page:
        content = api_client.get(page).json()
        texts += [row["text"] for row in content["results"]]
        page = content["next"]
    said = [f"{who} {n}" for n in range(3) for who in ("question", "answer")]
    assert texts == said[::-1]
    row = api_client.get(url).json()["results"][0]
    assert row["role"] == "assistant"
    assert row["run"] == str(AgentRun.objects.order_by("-pk")[0].public_id)


def test_reading_a_transcript_asks_few_questions(
    say, api_client, url, django_assert_max_num_queries
):
    for number in range(8):
        say(f"{number}")
        ledger.complete(ledger.begin(AgentRun.objects.order_by("-pk")[0]))
    with django_assert_max_num_queries(6):
        assert len(api_client.get(url).json()["results"]) == 16


def test_the_page_that_a_person_looks_at_goes_with_the_message(say):
    page = {"url": "https://shop.example/1", "content": " Shoes ", "scroll": 4}
    assert say(page=page).status_code == 201
    event = AgentRun.objects.get().event
    assert event.data == {"page": {"url": page["url"], "content": " Shoes "}}


@pytest.mark.parametrize(
    "page", [{"url": "u" * 2001}, {"content": "c" * 32_001}, {"url": []}, "x"]
)
def test_a_page_that_is_too_large_is_refused(say, page):
    answer = say(page=page)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["page"])
    assert not AgentRun.objects.exists()


def test_pending_messages_are_listed_and_taken_back(say, api_client, conversation):
    say()
    ids = [say(f"m{n}", metadata={"n": n}).json()["message_id"] for n in range(3)]
    url = f"{CONVERSATIONS}{conversation['id']}/pending/"
    page = api_client.get(url, {"limit": 2}).json()
    assert (len(page["results"]), page["count"]) == (2, 3)
    waiting = api_client.get(url).json()["results"]
    assert [row["message_id"] for row in waiting] == ids
    assert [row["text"] for row in waiting] == ["m0", "m1", "m2"]
    assert waiting[1]["metadata"] == {"n": 1}
    assert api_client.delete(f"{url}{ids[0]}/").status_code == 204
    assert api_client.delete(f"{url}{ids[0]}/").status_code == 204
    queued = api_client.get(f"/api/v1/queued/{ids[0]}/").json()
    assert queued["status"] == "cancelled"
    ledger.complete(ledger.begin(AgentRun.objects.get()))
    late = api_client.delete(f"{url}{ids[1]}/")
    assert late.status_code == 409
    assert late.json()["code"] == "not_pending"
    assert api_client.delete(f"{url}{uuid4()}/").status_code == 404


def test_listing_pending_asks_few_questions(
    say, api_client, conversation, django_assert_max_num_queries
):
    for number in range(9):
        say(f"{number}")
    url = f"{CONVERSATIONS}{conversation['id']}/pending/"
    with django_assert_max_num_queries(6):
        assert len(api_client.get(url).json()["results"]) == 8


def test_a_key_names_one_conversation(api_client, conversation, workspace):
    again = api_client.post(CONVERSATIONS, {"key": "mine"}, format="json")
    assert again.status_code == 200
    assert again.json()["id"] == conversation["id"]
    found = api_client.get(f"{CONVERSATIONS}?key=mine").json()["results"]
    assert [row["id"] for row in found] == [conversation["id"]]
    assert api_client.get(f"{CONVERSATIONS}?key=other").json()["results"] == []
    keyless = api_client.post(CONVERSATIONS, {}, format="json")
    assert keyless.status_code == 201
    assert keyless.json()["id"] != conversation["id"]


def test_a_long_key_names_one_conversation(api_client):
    key = "房" * 200
    made = api_client.post(CONVERSATIONS, {"key": key}, format="json")
    assert made.status_code == 201, made.content
    again = api_client.post(CONVERSATIONS, {"key": key}, format="json")
    assert again.json()["id"] == made.json()["id"]
    (found,) = api_client.get(CONVERSATIONS, {"key": key}).json()["results"]
    assert found["id"] == made.json()["id"]


def test_an_event_with_the_key_lands_in_the_conversation(
    api_client, conversation, agent
):
    AgentBinding.objects.create(agent=agent, scope="workspace")
    event = {"type": "message.received", "conversation": "mine", "input": {"text": "x"}}
    answer = api_client.post("/api/v1/events/", event, format="json").json()
    assert answer["conversation"] == conversation["id"]


def test_a_bots_conversation_asks_the_bots_binding(api_client, agent):
    bot = BotFactory.create(workspace=agent.workspace)
    AgentBinding.objects.create(agent=agent, scope="bot", scope_ref=bot.slug)
    content = {"key": "room/1 ü", "bot": bot.slug}
    room = api_client.post(CONVERSATIONS, content, format="json").json()
    assert room["bot"] == str(bot.public_id)
    url = f"{CONVERSATIONS}{room['id']}/messages/"
    assert api_client.post(url, {"text": "hi"}, format="json").status_code == 201
    assert AgentRun.objects.get().bot_id == bot.public_id
    query = {"key": "room/1 ü", "bot": str(bot.public_id)}
    found = api_client.get(CONVERSATIONS, query).json()["results"]
    assert [row["id"] for row in found] == [room["id"]]


def test_foreign_conversations_and_messages_do_not_exist(api_client, say):
    elsewhere = WorkspaceFactory.create(slug="elsewhere")
    foreign = Conversation.objects.create(workspace=elsewhere, key="k")
    event = EventLog.objects.create(
        workspace=elsewhere,
        source="s",
        event_id="e",
        type="message.received",
        time=foreign.created_at,
        trigger_source="api",
        outcome="queued",
    )
    message = QueuedMessage.objects.create(
        conversation=foreign,
        event=event,
        agent=AgentFactory.create(workspace=elsewhere),
    )
    for path in (
        f"{CONVERSATIONS}{foreign.public_id}/",
        f"{CONVERSATIONS}{foreign.public_id}/messages/",
        f"{CONVERSATIONS}{foreign.public_id}/pending/",
        f"/api/v1/queued/{message.public_id}/",
        f"/api/v1/events/{event.public_id}/",
    ):
        assert api_client.get(path).status_code == 404, path
    url = f"{CONVERSATIONS}{foreign.public_id}/messages/"
    assert api_client.post(url, {"text": "x"}, format="json").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_wait_returns_the_reply(say):
    def work():
        try:
            run = _wait_for_run()
            ledger.write(ledger.begin(run), "par", "tial")
            time.sleep(0.3)
            ledger.complete(AgentRun.objects.get(pk=run.pk), "x" * 5000)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    started = time.monotonic()
    response = say(query="?wait=20")
    worker.join()
    assert response.status_code == 200
    assert response.json()["status"] == "started"
    reply = response.json()["reply"]
    assert reply == {"text": "x" * 5000, "status": "completed", "artifacts": []}
    assert time.monotonic() - started < 5


@pytest.mark.django_db(transaction=True)
def test_wait_gives_the_plain_answer_when_the_time_is_up(say):
    started = time.monotonic()
    response = say(query="?wait=0.5")
    assert 0.4 < time.monotonic() - started < 4
    assert response.status_code == 201
    assert "reply" not in response.json()


@pytest.mark.django_db(transaction=True)
def test_a_queued_message_waits_for_its_own_reply(say):
    say("first")

    def work():
        try:
            while not QueuedMessage.objects.exists():
                time.sleep(0.05)
            first = AgentRun.objects.get()
            ledger.complete(ledger.begin(first), "first reply")
            second = AgentRun.objects.exclude(pk=first.pk).get()
            ledger.fail(ledger.begin(second))
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    response = say("second", query="?wait=20")
    worker.join()
    assert response.status_code == 200
    assert response.json()["status"] == "queued"
    reply = response.json()["reply"]
    assert (reply["text"], reply["status"]) == ("", "failed")
    assert reply["error"]["code"] == "runner.error"


@pytest.mark.django_db(transaction=True)
def test_a_replayed_message_waits_for_the_same_reply(say):
    headers = {"Idempotency-Key": "w-1"}
    assert say(headers=headers, query="?wait=0.1").status_code == 201
    ledger.complete(ledger.begin(AgentRun.objects.get()), "the reply")
    again = say(headers=headers, query="?wait=0.1")
    assert again.status_code == 200
    assert again.json()["reply"]["text"] == "the reply"
    assert AgentRun.objects.count() == 1


def _wait_for_run():
    while (run := AgentRun.objects.first()) is None:
        time.sleep(0.05)
    return run
