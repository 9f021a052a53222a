"""AG-08: one person queues 30 messages a minute, in whatever conversations and ways."""

import time
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from langbot.lib.conf import limits
from langbot.lib.redis import quick_client, rate_limit
from runners.admission import admit
from runners.errors import QueueFullError, TooManyFollowUpsError
from runners.models import AgentRun, EventLog, QueuedMessage
from runners.public import start_run
from tests.factories import AgentBindingFactory, BotFactory
from tests.platforms.chat_client import opened
from tests.platforms.receiver import webhook_bot
from tests.platforms.test_webhook import call
from tests.runners.test_admission import finish, message

ADA = {"id": "ada", "type": "user"}


def with_limits(settings, **changed):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": changed}


@pytest.fixture
def two_a_minute(settings):
    with_limits(settings, follow_ups_per_minute=2)


def say(agent, conversation, **more):
    return admit(message(agent, conversation=conversation, actor=ADA, **more))


def test_thirty_a_minute_over_all_conversations(agent):
    assert limits().follow_ups_per_minute == 30
    rooms = [f"room {number}" for number in range(8)]
    assert {say(agent, room).status for room in rooms} == {"started"}
    begun, queued = time.monotonic(), 0
    with pytest.raises(TooManyFollowUpsError) as refused:
        while queued < 10 * len(rooms):
            assert say(agent, rooms[queued % len(rooms)]).status == "queued"
            queued += 1
    refilled = (time.monotonic() - begun) / 2  # 30 in 60 s: one in 2 s
    assert 30 <= queued <= 30 + refilled
    assert refused.value.retry_after in {1, 2}
    assert EventLog.objects.count() == len(rooms) + queued  # nothing of the refused
    assert say(agent, "an idle one").status == "started"
    other = message(agent, conversation=rooms[-1], actor={"id": "ben"})
    assert admit(other).status == "queued"


def test_a_repeat_and_a_full_queue_cost_nothing(agent, settings):
    with_limits(settings, follow_ups_per_minute=2, follow_ups=1)
    for room in ("one", "two"):
        assert say(agent, room).status == "started"
    assert say(agent, "one", event_id="e").status == "queued"
    for _ in range(5):
        assert say(agent, "one", event_id="e").status == "duplicate"
        with pytest.raises(QueueFullError):
            say(agent, "one")
    assert say(agent, "two").status == "queued"


def test_code_of_ours_and_events_of_nobody_are_not_counted(agent, two_a_minute):
    for _ in range(4):
        start_run(agent, "hello", conversation="python", actor=ADA)
        admit(message(agent, conversation="sensor"))
    assert QueuedMessage.objects.count() == 6


def test_without_redis_everybody_passes(agent, settings, caplog):
    settings.LANGBOT = {
        **settings.LANGBOT,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "LIMITS": {"follow_ups_per_minute": 1},
    }
    quick_client.cache_clear()
    try:
        answers = [say(agent, "room").status for _ in range(4)]
    finally:
        quick_client.cache_clear()
    assert answers == ["started", "queued", "queued", "queued"]
    assert "not checked" in caplog.text


def test_an_idle_conversation_is_not_counted_and_not_asked_more(agent, two_a_minute):
    ended = []
    for _ in range(4):
        with CaptureQueriesContext(connection) as queries:
            admitted = say(agent, "room", is_first=True)
        assert admitted.status == "started"
        finish(admitted.run)
        ended.append(len(queries))
    assert ended[-1] == ended[1]
    person = f"follow-ups:{agent.workspace.public_id}:api:ada"
    assert not quick_client().exists(rate_limit(person))


def test_nobody_waits_for_redis_in_a_transaction(agent, monkeypatch):
    depths = []
    before = len(connection.savepoint_ids)
    monkeypatch.setattr(
        "runners.admission.count_follow_up",
        lambda _person: depths.append(len(connection.savepoint_ids)),
    )
    say(agent, "room")
    assert say(agent, "room").status == "queued"
    assert depths == [before]


def test_rest_answers_429_with_retry_after(api_client, workspace, agent, two_a_minute):
    def post(room):
        content = {
            "type": "message.received",
            "conversation": room,
            "input": {"text": str(uuid4())},
        }
        return api_client.post("/api/v1/events/", content, format="json")

    AgentBindingFactory(agent=agent)
    answers = [post(room) for room in ("a", "b", "a", "b", "a")]
    assert [answer.status_code for answer in answers] == [202] * 4 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1]["Retry-After"]) <= 30
    room = api_client.post("/api/v1/conversations/", {"key": "c"}, format="json")
    url = f"/api/v1/conversations/{room.json()['id']}/messages/"
    said = [{"text": text, "agent": agent.slug} for text in "xy"]
    statuses = [api_client.post(url, one, format="json").status_code for one in said]
    assert statuses == [201, 429]


def test_a_webhook_answers_429_with_retry_after(client, workspace, agent, two_a_minute):
    AgentBindingFactory(agent=agent)
    webhook_bot("", workspace=workspace, slug="door")
    hello = {"conversation": "room", "actor": {"id": "ada"}, "text": "Hello"}
    answers = [call(client, hello, call_id=str(uuid4())) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1]["Retry-After"]) <= 30


@pytest.mark.django_db(transaction=True)
async def test_the_web_chat_shows_it(workspace, agent, two_a_minute):
    from asgiref.sync import sync_to_async

    await sync_to_async(AgentBindingFactory)(agent=agent)
    await sync_to_async(BotFactory.create)(workspace=workspace, slug="web")
    async with opened() as page:
        await page.auth()
        for number in range(4):
            await page.send(type="message", text="x", client_key=f"k{number}")
        error = await page.frame("error")
    assert (error["code"], error["client_key"]) == ("rate_limited", "k3")
    assert await AgentRun.objects.acount() == 1
