"""What waits in the web chat: a visitor takes back what is theirs, nothing else."""

from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from agents.models import Agent
from runners.choices import EventType, RunStatus
from runners.ledger.batches import Ending, end_run
from runners.ledger.finishing import Reply
from runners.models import AgentRun, QueuedMessage
from runners.steering import claim_messages
from tests.factories import AgentBindingFactory, BotFactory
from tests.platforms.chat_client import opened, play

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bot(workspace, agent):
    AgentBindingFactory(agent=agent)
    return BotFactory.create(workspace=workspace, slug="web")


def stop(run_id):
    half = Reply("half", complete=False)
    return end(run_id, Ending(RunStatus.CANCELLED, "cancelled", "no", reply=half))


def fail(run_id):
    half = Reply("half", complete=False)
    return end(run_id, Ending(RunStatus.FAILED, "runner.exception", "no", reply=half))


def take_up(run):
    with transaction.atomic():
        claim_messages(run.pk, 10)


def end(run_id, ending):
    run = AgentRun.objects.get(public_id=run_id)
    return end_run(run.pk, run.conversation_id, ending)


async def test_a_visitor_takes_back_what_waits(bot):
    async with opened() as page:
        await page.auth()
        first = await page.say("one", "k1")
        await sync_to_async(play)(first["run_id"])
        waiting = await page.say("two", "k2")
        message_id = waiting["message_id"]
        await page.send(type="withdraw", message_id=message_id)
        answer = await page.frame("withdrawn")
        assert (answer["message_id"], answer["withdrawn"]) == (message_id, True)
        assert answer["waiting"] == []
        await page.send(type="withdraw", message_id=message_id)
        assert (await page.frame("withdrawn"))["withdrawn"] is False
    message = await QueuedMessage.objects.aget()
    assert message.status == "cancelled"


async def test_what_the_run_took_up_is_told_and_waits_no_more(bot):
    async with opened() as page:
        await page.auth()
        first = await page.say("one", "k1")
        run = await sync_to_async(play)(first["run_id"])
        waiting = await page.say("two", "k2")
        history = await page.auth(page.token)
        assert [one["taken"] for one in history["waiting"]] == [False]
        await sync_to_async(take_up)(run.run)
        secret = {"message_id": waiting["message_id"], "text": "two", "event_id": "e"}
        data = {"messages": [secret], "call": 1}
        await sync_to_async(run.add)(EventType.STEERING_INJECTED, data)
        while (event := await page.frame("agent_event"))["event_type"] != (
            "steering.injected"
        ):
            pass
        assert event["data"] == {"taken": [waiting["message_id"]]}
        history = await page.auth(page.token)
        assert [one["taken"] for one in history["waiting"]] == [True]
        assert [one["text"] for one in history["items"]] == ["one", "two"]
        await page.send(type="withdraw", message_id=waiting["message_id"])
        assert (await page.frame("withdrawn"))["withdrawn"] is False


async def test_what_failed_was_not_stopped(bot):
    async with opened() as page:
        await page.auth()
        for key, finish in (("k1", fail), ("k2", stop)):
            said = await page.say("please", key)
            await sync_to_async(play)(said["run_id"])
            await sync_to_async(finish)(said["run_id"])
            ended = await page.frame("session_complete")
            (half,) = [one for one in ended["items"] if one["role"] == "assistant"]
            assert half["incomplete"] is True
            assert half["stopped"] is (finish is stop)


async def test_nobody_takes_back_what_another_said(bot):
    async with opened() as page, opened() as stranger:
        await page.auth()
        await stranger.auth()
        first = await page.say("one", "k1")
        await sync_to_async(play)(first["run_id"])
        waiting = await page.say("two", "k2")
        for wanted in (waiting["message_id"], str(uuid4())):
            await stranger.send(type="withdraw", message_id=wanted)
            assert (await stranger.frame("error"))["code"] == "not_found"
    assert await QueuedMessage.objects.filter(status="queued").aexists()


async def test_a_turn_that_was_rolled_back_is_told_as_forgotten(bot):
    await Agent.objects.aupdate(multitask_strategy="rollback")
    async with opened() as page:
        await page.auth()
        first = await page.say("one", "k1")
        await sync_to_async(play)(first["run_id"])
        await page.frame("turn")
        await page.say("two", "k2")
        await sync_to_async(stop)(first["run_id"])
        end = await page.frame("session_complete")
        assert (end["run_id"], end["items"]) == (first["run_id"], [])
        assert end["forgotten"] is True
        history = await page.auth(page.token)
        assert [one["text"] for one in history["items"]] == ["two"]


async def test_a_busy_agent_may_refuse(bot):
    await Agent.objects.aupdate(multitask_strategy="reject")
    async with opened() as page:
        await page.auth()
        await page.say("one", "k1")
        await page.send(type="message", text="two", client_key="k2")
        error = await page.frame("error")
    assert (error["code"], error["client_key"]) == ("conversation_busy", "k2")
