import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from platforms.chat import visits
from platforms.models import Bot
from runners.choices import EventType, RunStatus
from runners.ledger.batches import Ending
from runners.ledger.finishing import Reply
from runners.models import AgentRun, Delivery, EventLog, QueuedMessage
from tests.factories import BotFactory
from tests.platforms.chat_client import Page, finish, opened, play, text_of

pytestmark = pytest.mark.django_db(transaction=True)


async def test_message_streams_its_reply(bot):
    async with opened() as page:
        history = await page.auth()
        assert (history["items"], history["running"]) == ([], None)
        answer = await page.say("hello", "k1")
        assert answer["status"] == "started"
        assert answer["client_key"] == "k1"
        turn = await page.frame("turn")
        assert turn == {"type": "turn", "run_id": answer["run_id"], "client_key": "k1"}
        run = await sync_to_async(play)(answer["run_id"])
        await sync_to_async(run.say)("Good ", "day")
        await sync_to_async(run.complete)()
        events, end = await page.events_until_end()
        assert text_of(events) == "Good day"
        assert [one["seq"] for one in events] == sorted(one["seq"] for one in events)
        assert [(one["role"], one["text"]) for one in end["items"]] == [
            ("user", "hello"),
            ("assistant", "Good day"),
        ]


async def test_a_reply_comes_as_clean_html_and_a_failure_as_its_code(bot):
    async with opened() as page:
        await page.auth()
        answer = await page.say("hello", "k1")
        run = await sync_to_async(play)(answer["run_id"])
        said = Reply("**so far** <img src=x>", complete=False)
        failed = Ending(RunStatus.FAILED, "model.timeout", "a secret", reply=said)
        await sync_to_async(run.end)(failed)
        _, end = await page.events_until_end()
        user, reply, failure = end["items"]
        assert (user["html"], user["code"]) == (None, None)
        assert "<strong>so far</strong>" in reply["html"]
        assert "<img" not in reply["html"]
        assert (failure["role"], failure["code"]) == ("system", "model.timeout")
        assert "a secret" not in json.dumps(end)


async def answered(page, text, key, reply):
    """Say something and have it answered; returns the items of its end."""
    answer = await page.say(text, key)
    await sync_to_async(finish)(answer["run_id"], reply)
    _, end = await page.events_until_end()
    return end["items"]


async def test_a_reply_is_made_anew(bot):
    async with opened() as page:
        await page.auth()
        _, first = await answered(page, "one", "k1", "re one")
        await answered(page, "two", "k2", "re two")
        await page.send(type="regenerate", message_id=first["id"])
        asked = await page.frame("replaces")
        assert (asked["message_id"], asked["messages"]) == (first["id"], 1)
        assert await AgentRun.objects.acount() == 2
        sure = {"message_id": first["id"], "confirmed": True}
        await page.send(type="regenerate", **sure)
        history = await page.frame("history")
        assert history["anew"]
        assert [one["text"] for one in history["items"]] == ["one"]
        turn = await page.frame("turn")
        assert turn["client_key"] == "k1"
        await sync_to_async(finish)(turn["run_id"], "better")
        _, end = await page.events_until_end()
        assert [one["text"] for one in end["items"]] == ["better"]

        await page.send(type="regenerate", message_id=first["id"])
        assert (await page.frame("error"))["code"] == "not_found"


async def test_nobody_has_anothers_reply_made_anew(bot):
    async with opened() as page, opened() as stranger:
        await page.auth()
        await stranger.auth()
        _, reply = await answered(page, "one", "k1", "re one")
        await stranger.send(type="regenerate", message_id=reply["id"])
        assert (await stranger.frame("error"))["code"] == "not_found"
        assert await AgentRun.objects.acount() == 1


async def test_message_without_auth_makes_a_visitor(bot):
    async with opened() as page:
        await page.send(type="message", text="hello", client_key="k1")
        assert (await page.frame())["type"] == "auth_ok"
        assert (await page.frame("accepted"))["status"] == "started"


async def test_resent_message_is_one_event(bot):
    async with opened() as page:
        await page.auth()
        first = await page.say("hello", "k1")
        second = await page.say("hello", "k1")
        assert second["status"] == "duplicate"
        assert second["run_id"] == first["run_id"]
    assert await EventLog.objects.acount() == 1


async def test_queued_messages_are_followed_when_promoted(bot):
    async with opened() as page:
        await page.auth()
        first = await page.say("one", "k1")
        second = await page.say("two", "k2")
        assert second["status"] == "queued"
        assert second["buffer_length"] == 1
        run = await sync_to_async(play)(first["run_id"])
        await sync_to_async(run.say)("first answer")
        await sync_to_async(run.complete)()
        _, end = await page.events_until_end()
        assert end["waiting"] == []
        turn = await page.frame("turn")
        assert turn["client_key"] == "k2"
        run = await sync_to_async(play)(turn["run_id"])
        await sync_to_async(run.say)("second answer")
        await sync_to_async(run.complete)()
        events, _ = await page.events_until_end()
        assert text_of(events) == "second answer"


async def test_history_shows_what_was_said_and_what_waits(bot):
    async with opened() as page:
        await page.auth()
        answer = await page.say("one", "k1")
        await page.say("two", "k2")
        token = page.token
    async with opened() as page:
        history = await page.auth(token)
        assert page.token == token
        assert history["running"] == answer["run_id"]
        assert [item["text"] for item in history["items"]] == ["one"]
        assert [item["client_key"] for item in history["waiting"]] == ["k2"]
    async with opened() as stranger:
        assert (await stranger.auth())["items"] == []


async def test_reconnect_resumes_after_the_last_event(bot):
    async with opened() as page:
        await page.auth()
        answer = await page.say("hello", "k1")
        run = await sync_to_async(play)(answer["run_id"])
        await sync_to_async(run.say)("a", "b")
        seen: list[dict[str, Any]] = []
        while text_of(seen) != "ab":
            seen.append(await page.frame("agent_event"))
        token, last = page.token, seen[-1]["seq"]
    await sync_to_async(run.say)("c")
    async with opened() as page:
        resume = {"run_id": answer["run_id"], "after": last}
        await page.auth(token, resume_from=resume)
        await sync_to_async(run.say)("d")
        await sync_to_async(run.complete)()
        events, end = await page.events_until_end()
        assert text_of(events) == "cd"
        assert end["items"][-1]["text"] == "abcd"


async def test_visitors_see_no_internals(bot):
    async with opened() as page:
        await page.auth()
        answer = await page.say("hello", "k1")
        run = await sync_to_async(play)(answer["run_id"])
        for kind in (
            EventType.TOOL_CALL_STARTED,
            EventType.REASONING_DELTA,
            EventType.PROCESSOR_LOG,
            EventType.WARNING,
        ):
            data = {"text": "internal", "block": 1, "hidden": True}
            await sync_to_async(run.add)(kind, data)
        await sync_to_async(run.fail)("runner.error", "internal stack")
        events, end = await page.events_until_end()
        assert "internal" not in json.dumps([events, end])
        assert events[-1]["event_type"] == "run.failed"
        assert events[-1]["data"] == {"code": "runner.error", "retryable": False}
        assert end["items"][-1]["role"] == "system"


async def test_reasoning_comes_apart_from_the_reply(bot):
    async with opened() as page:
        await page.auth()
        answer = await page.say("hello", "k1")
        run = await sync_to_async(play)(answer["run_id"])
        thought = {"text": "Hm", "block": 1}
        await sync_to_async(run.add)(EventType.REASONING_DELTA, thought)
        await sync_to_async(run.say)("Good day")
        reply = Reply("Good day", thoughts=["Hm"])
        await sync_to_async(run.end)(Ending(RunStatus.COMPLETED, reply=reply))
        events, end = await page.events_until_end()
        (seen,) = (one for one in events if one["event_type"] == "reasoning.delta")
        assert seen["data"] == thought
        assert text_of(events) == "Good day"
        assert [
            (one["role"], one["text"], one["block"], one["html"])
            for one in end["items"][1:]
        ] == [
            ("reasoning", "Hm", 1, None),
            ("assistant", "Good day", None, "<p>Good day</p>\n"),
        ]


async def test_stop_cancels_the_own_run(bot):
    async with opened() as page, opened() as other:
        await other.auth()
        await page.auth()
        answer = await page.say("hello", "k1")
        await other.send(type="interrupt")
        assert (await other.frame("stopped"))["stopped"] is False
        await page.send(type="interrupt")
        events, _ = await page.events_until_end()
        assert events[-1]["data"]["code"] == "cancelled"
    run = await AgentRun.objects.aget(public_id=answer["run_id"])
    assert run.status == RunStatus.CANCELLED


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("not json", "invalid_frame"),
        ("[]", "invalid_frame"),
        ("{}", "invalid_frame"),
        ('{"type": "nothing"}', "invalid_frame"),
        ('{"type": "message", "text": "x"}', "invalid_frame"),
        ('{"type": "message", "text": " ", "client_key": "k"}', "invalid_frame"),
        ('{"type": "message", "text": "x", "client_key": "\\u0000"}', "invalid_frame"),
        (
            json.dumps({"type": "message", "text": "x" * 32_001, "client_key": "k"}),
            "input_too_large",
        ),
        ("x" * 300_000, "input_too_large"),
        ("[" * 100_000, "invalid_frame"),
        ('{"type": "auth", "token": "forged"}', "invalid_token"),
        ('{"type": "interrupt"}', "not_authenticated"),
    ],
)
async def test_bad_frames_get_an_error_and_the_socket_stays_open(bot, raw, code):
    async with opened() as page:
        await page.socket.send_to(text_data=raw)
        assert (await page.frame("error"))["code"] == code
        assert (await page.say("hello", "after"))["status"] == "started"
    assert await EventLog.objects.acount() == 1


async def test_binary_frames_are_refused(bot):
    async with opened() as page:
        await page.socket.send_to(bytes_data=b"\x00")
        assert (await page.frame("error"))["code"] == "invalid_frame"


async def test_text_no_database_can_keep_is_accepted(bot):
    async with opened() as page:
        assert (await page.say("a\x00b\ud800", "k1"))["status"] == "started"


async def test_full_queue_is_refused_visibly(bot):
    async with opened() as page:
        await page.auth()
        for number in range(12):
            await page.send(type="message", text="x", client_key=f"k{number}")
        error = await page.frame("error")
        assert (error["code"], error["client_key"]) == ("queue_full", "k11")
    assert await QueuedMessage.objects.acount() == 10


async def test_visitor_who_writes_too_fast_is_slowed_down(bot, monkeypatch):
    assert visits.MESSAGES_PER_MINUTE == 30
    monkeypatch.setattr(visits, "MESSAGES_PER_MINUTE", 2)  # one more in 30 s
    async with opened() as page, opened() as other:
        await other.auth()
        await page.say("one", "k1")
        await page.say("two", "k2")
        await page.send(type="message", text="three", client_key="k3")
        error = await page.frame("error")
        assert (error["code"], error["client_key"]) == ("rate_limited", "k3")
        assert (await other.say("one", "k1"))["status"] == "started"


@pytest.mark.parametrize("slug", ["nobody", "door"])
async def test_socket_of_no_chat_is_refused(bot, slug):
    await sync_to_async(BotFactory.create)(slug="door", adapter="webhook")
    connected, _ = await Page(slug).socket.connect(timeout=10)
    assert not connected


async def test_bot_switched_off_closes_the_chat_but_not_the_socket(bot):
    async with opened() as page:
        await page.auth()
        await Bot.objects.aupdate(enabled=False)
        await page.send(type="message", text="x", client_key="k1")
        frame = await page.frame("error")
        assert (frame["code"], frame["client_key"]) == ("bot_disabled", "k1")


async def test_token_is_good_for_its_bot_only(bot, workspace):
    await sync_to_async(BotFactory.create)(workspace=workspace, slug="other")
    async with opened() as page:
        await page.auth()
    async with opened("other") as page_of_other:
        await page_of_other.send(type="auth", token=page.token)
        assert (await page_of_other.frame())["code"] == "invalid_token"
        assert (await page_of_other.frame("auth_ok"))["token"] != page.token


async def test_message_that_nobody_answers_says_so(bot, agent):
    await agent.bindings.all().adelete()
    async with opened() as page:
        assert (await page.say("hello", "k1"))["status"] == "ignored"


async def test_conversations_per_person_have_a_history_too(workspace, bot, agent):
    agent.session_scope = "actor"
    await agent.asave()
    async with opened() as page:
        await page.auth()
        await page.say("hello", "k1")
        token = page.token
    async with opened() as page:
        assert len((await page.auth(token))["items"]) == 1


async def test_messages_at_once_from_many_visitors_all_stream(bot):
    """Each gets its own reply, whatever the order of everything else."""

    async def visit(number):
        async with opened() as page:
            await page.auth()
            answer = await page.say(f"question {number}", "k")
            run = await sync_to_async(play)(answer["run_id"])
            await sync_to_async(run.say)(*f"answer {number}")
            await sync_to_async(run.complete)()
            events, end = await page.events_until_end()
            assert text_of(events) == f"answer {number}"
            assert end["items"][-1]["text"] == f"answer {number}"

    await asyncio.gather(*(visit(number) for number in range(12)))


async def test_reply_leaves_a_delivery_that_the_page_completes(bot):
    from platforms import outbox

    async with opened() as page:
        await page.auth()
        answer = await page.say("hello", "k1")
        run = await sync_to_async(play)(answer["run_id"])
        await sync_to_async(run.say)("hi")
        await sync_to_async(run.complete)()
        await page.events_until_end()
    row = await Delivery.objects.aget()
    await sync_to_async(outbox.deliver)(row.pk)
    await row.arefresh_from_db()
    assert row.status == "delivered"
