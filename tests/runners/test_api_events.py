import pytest
from django.db import transaction

from agents.models import AgentBinding
from runners.models import AgentRun, EventLog, QueuedMessage
from runners.steering import claim_messages
from tests.factories import AgentFactory, BotFactory

EVENTS = "/api/v1/events/"


@pytest.fixture
def bot(workspace):
    return BotFactory.create(workspace=workspace)


@pytest.fixture
def bound(agent):
    return AgentBinding.objects.create(agent=agent, scope="workspace")


@pytest.fixture
def send(api_client):
    def send(query="", headers=None, **content):
        content = {"type": "message.received", **content}
        return api_client.post(EVENTS + query, content, format="json", headers=headers)

    return send


def test_an_accepted_event_is_202(send, bound, bot):
    response = send(
        event_id="e1",
        bot=bot.slug,
        conversation="room",
        thread="t",
        actor={"id": "u1", "name": "Ada", "type": "user"},
        subject={"type": "file", "id": "f"},
        input={"text": "hello"},
        data={"x": 1},
        delivery={"reply_target": {"to": "room"}},
        time="2026-01-02T03:04:05Z",
        metadata={"m": 1},
    )
    assert response.status_code == 202, response.content
    answer = response.json()
    run, event = AgentRun.objects.get(), EventLog.objects.get()
    assert answer["status"] == "started"
    assert answer["event_id"] == "e1"
    assert answer["duplicate"] is False
    assert answer["run_id"] == str(run.public_id)
    assert answer["conversation"] == str(run.conversation.public_id)
    assert run.bot_id == event.bot_id == bot.public_id
    assert event.actor == {"id": "u1", "name": "Ada", "type": "user"}
    assert event.time.isoformat() == "2026-01-02T03:04:05+00:00"
    assert event.delivery["reply_target"] == {"to": "room"}


def test_the_same_event_id_is_the_same_run(send, bound):
    first = send(event_id="e1").json()
    again = send(event_id="e1")
    assert again.status_code == 202
    assert again.json()["duplicate"] is True
    assert again.json()["status"] == "duplicate"
    assert again.json()["run_id"] == first["run_id"]
    assert AgentRun.objects.count() == 1


def test_senders_do_not_share_event_ids(send, bound, user, workspace):
    from rest_framework.test import APIClient

    from langbot.core.tokens import create_api_token

    _, plain = create_api_token(user, workspace, "second")
    other = APIClient()
    other.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
    send(event_id="e1")
    content = {"type": "message.received", "event_id": "e1"}
    answer = other.post(EVENTS, content, format="json").json()
    assert answer["duplicate"] is False


def test_an_event_nobody_answers_is_kept_with_the_reason(send, api_client, workspace):
    answer = send(type="group.member_joined").json()
    assert answer["status"] == "ignored"
    assert answer["reason"] == "no binding matches"
    assert answer["run_id"] is None
    shown = api_client.get(f"{EVENTS}{answer['message_id']}/").json()
    assert shown["outcome"] == "ignored"
    assert shown["outcome_reason"] == "no binding matches"


def test_a_busy_conversation_queues_and_then_refuses(send, bound):
    answers = [send(conversation="room", input={"text": str(n)}) for n in range(12)]
    codes = [answer.status_code for answer in answers]
    assert codes == [202] * 11 + [429]
    assert answers[1].json()["status"] == "queued"
    assert answers[11].json()["code"] == "queue_full"
    assert int(answers[11]["Retry-After"]) > 0


@pytest.mark.parametrize(
    "content",
    [
        {"type": ""},
        {"type": "x" * 101},
        {"type": "white space"},
        {"type": 5},
        {"event_id": "x" * 201},
        {"bot": "nowhere"},
        {"bot": []},
        {"conversation": "x" * 201},
        {"conversation": {}},
        {"actor": "ada"},
        {"actor": {"name": "no id"}},
        {"actor": {"id": "x" * 201}},
        {"subject": []},
        {"input": {"text": "x" * 32_001}},
        {"input": {"contents": {}}},
        {"input": {"attachments": [{}] * 21}},
        {"input": {"unknown": 1}},
        {"data": []},
        {"delivery": "x"},
        {"time": "noon"},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"metadata": []},
        {"source": "bot:forged"},
    ],
)
def test_wrong_fields_are_named_and_nothing_is_written(send, bound, content):
    response = send(**content)
    assert response.status_code == 400, response.content
    assert set(content) & set(response.json()["errors"])
    assert not EventLog.objects.exists()


def test_a_bot_of_another_workspace_is_unknown(send, bound):
    foreign = BotFactory.create(workspace=AgentFactory.create().workspace)
    assert send(bot=foreign.slug).status_code == 400
    assert send(bot=str(foreign.public_id)).status_code == 400


def test_events_are_filtered(send, api_client, bound, bot):
    send(event_id="a", bot=bot.slug)
    send(event_id="b", type="group.member_joined")

    def found(query):
        content = api_client.get(f"{EVENTS}?{query}").json()
        return [row["event_id"] for row in content["results"]]

    assert found("") == ["b", "a"]
    assert found("type=group.member_joined") == ["b"]
    assert found(f"bot={bot.slug}") == ["a"]
    assert found("outcome=started") == ["a"]
    assert found("created_after=2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("count", [1, 20])
def test_a_list_asks_the_same_few_questions(
    send, api_client, bound, count, django_assert_max_num_queries
):
    for _ in range(count):
        send()
    with django_assert_max_num_queries(6):
        rows = api_client.get(EVENTS).json()["results"]
    assert len(rows) == count
    assert all(len(row["runs"]) == 1 for row in rows)


def test_an_event_names_the_run_that_took_it_up(send, api_client, bound, agent):
    """LB-85: what a message that is absorbed has instead of a run of its own."""
    assert send(conversation="room", event_id="first").status_code == 202
    assert send(conversation="room", event_id="then").status_code == 202
    run = AgentRun.objects.get()
    url = f"{EVENTS}{EventLog.objects.get(event_id='then').public_id}/"
    assert api_client.get(url).json()["steering"] is None  # it waits for its turn
    QueuedMessage.objects.update(mode="steering", meets=run.pk)
    waiting = api_client.get(url).json()["steering"]
    assert (waiting["status"], waiting["claimed_by_run_id"]) == ("queued", None)
    AgentRun.objects.update(status="running")
    with transaction.atomic():
        claim_messages(run.pk, 1)
    taken = api_client.get(url).json()
    assert taken["runs"] == []
    assert taken["steering"].pop("claimed_at")
    assert taken["steering"] == {
        "status": "injected",
        "trigger_behavior": "absorbed_into_active_run",
        "claimed_by_run_id": str(run.public_id),
        "claimed_runner_id": run.runner_id,
    }
    first = EventLog.objects.get(event_id="first").public_id
    assert api_client.get(f"{EVENTS}{first}/").json()["steering"] is None
