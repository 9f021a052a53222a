"""Effects of host calls happen once: what is refused, kept and undone with them."""

import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection

from agents.registry.connections import Registered
from platforms.adapters import registry
from runners.host_api import platform_threads, replies, sending
from runners.host_api.calls import ConnectionCall
from runners.ledger import journal
from runners.models import Conversation, Delivery, EventLog, TranscriptItem
from runners.protocol.errors import ProtocolError
from tests.factories import BotFactory
from tests.runners.host_api.conftest import Inline
from tests.runners.host_api.providers import Knowledge, Tools, install
from tests.runners.host_api.test_platform import Loud

SHOUT = {"tool_name": "shout", "parameters": {"text": "a"}}
CAPABLE = {"tool_calling": True, "knowledge_retrieval": True}
PERMISSIONS = {"tools": ["call"], "knowledge_bases": ["retrieve"]}


@pytest.fixture
def tools(monkeypatch):
    tools = Tools()
    install(monkeypatch, tools)
    return tools


@pytest.fixture
def shouting(tools, caller_of):
    return caller_of(PERMISSIONS, capabilities=CAPABLE, tools=["shout"])


@pytest.fixture
def loud(monkeypatch):
    adapter = Loud()
    monkeypatch.setitem(registry._adapters, adapter.kind, adapter)
    return adapter


@pytest.fixture
def bot(workspace, loud):
    return BotFactory.create(workspace=workspace, adapter="loud")


@pytest.fixture
def sender(caller_of, bot):
    def make(*actions, **more):
        named = [f"platform_{one}" for one in actions or ("send_message",)]
        return caller_of(
            PERMISSIONS, tools=named, run={"bot_id": bot.public_id, **more}
        )

    return make


def sent(caller, text="Hello", target="g-1", **more):
    params = {"target_id": target, "text": text}
    return caller("call_platform_api", action="send_message", params=params, **more)


def broken(*_args, **_kwargs):
    message = "the database is gone"
    raise OperationalError(message)


def depth_of_transaction():
    return len(connection.savepoint_ids)


def returning(result):
    async def answer(_self, _asked):
        return result

    return answer


def test_of_a_tool_that_fails_in_no_known_way_nobody_knows(shouting, monkeypatch):
    async def crash(_tools, _call):
        message = "the line broke"
        raise OSError(message)

    monkeypatch.setattr(Tools, "call", crash)
    with pytest.raises(ProtocolError) as refused:
        shouting("call_tool", **SHOUT)
    assert (refused.value.code, refused.value.retryable) == ("outcome_unknown", False)


def test_an_answer_that_cannot_be_kept_is_given_and_not_repeated(
    shouting, tools, monkeypatch
):
    monkeypatch.setattr(journal, "after", broken)
    assert shouting("call_tool", **SHOUT, seq_id=7) == {"result": {"said": "A"}}
    assert shouting.refused("call_tool", **SHOUT, seq_id=7) == "outcome_unknown"
    assert len(tools.calls) == 1


def test_a_refusal_that_cannot_be_kept_is_given(shouting, monkeypatch):
    async def refuse(_tools, _call):
        raise ProtocolError("not_found", "it is gone")

    monkeypatch.setattr(Tools, "call", refuse)
    monkeypatch.setattr(journal, "failed", broken)
    assert shouting.refused("call_tool", **SHOUT) == "not_found"


def test_a_reply_that_was_said_is_answered_without_its_event(sender, monkeypatch):
    caller = sender()

    async def tell(_event):
        broken()

    monkeypatch.setattr(caller.told, "tell", tell)
    said = {"tool_name": "event_reply", "parameters": {"text": "Hello"}}
    assert caller("call_tool", **said)["result"]["status"] == "queued"


def test_a_dry_run_sends_nobody_anything(sender):
    caller = sender(dry_run=True)
    before = Conversation.objects.count()
    assert sent(caller) == {"result": {"dry_run": True}}
    assert Conversation.objects.count() == before
    assert not TranscriptItem.objects.exists()
    assert not Delivery.objects.exists()


def test_the_event_of_a_message_names_the_bot_that_sends_it(sender, workspace, bot):
    other = BotFactory.create(workspace=workspace, adapter="loud")
    sent(sender(), bot_uuid=str(other.public_id))
    assert EventLog.objects.get(type="message.sent").bot_id == other.public_id


def test_files_are_written_before_the_transaction(sender, monkeypatch):
    depths = []

    def store(files):
        if list(files):
            depths.append(depth_of_transaction())

    monkeypatch.setattr(replies, "store_contents", store)
    outside = depth_of_transaction()
    params = {"target_id": "g-1", "message": [{"type": "File", "base64": "QUFB"}]}
    sender()("call_platform_api", action="send_message", params=params)
    assert depths == [outside]


ODD = {"at": datetime(2026, 1, 1, tzinfo=UTC), "score": float("nan")}
SPELLED = {"at": "2026-01-01T00:00:00Z", "score": None}


def test_results_that_json_cannot_spell_are_spelled(shouting, monkeypatch):
    monkeypatch.setattr(Tools, "call", returning(ODD))
    assert shouting("call_tool", **SHOUT) == {"result": SPELLED}


def test_results_of_platforms_are_bounded_too(sender, loud, monkeypatch):
    caller = sender("pin")
    results: list[dict[str, Any]] = [ODD, {"text": "y" * 1_100_000}]
    monkeypatch.setattr(loud, "act", lambda *_: results.pop(0))
    assert caller("call_platform_api", action="pin") == {"result": SPELLED}
    cut = caller("call_platform_api", action="pin")["result"]
    assert (cut["truncated"], len(cut["text"])) == (True, 10_000)


def test_of_what_is_known_as_much_as_fits_is_told(caller_of, monkeypatch):
    install(monkeypatch, knowledge=Knowledge())
    hits = [{"id": str(n), "content": "y" * 400_000, **ODD} for n in range(5)]
    monkeypatch.setattr(Knowledge, "retrieve", returning(hits))
    caller = caller_of(PERMISSIONS, capabilities=CAPABLE, knowledge_bases=["kb-1"])
    found = caller("retrieve_knowledge_base", kb_id="kb-1", query_text="x")["results"]
    assert [(hit["id"], hit["score"]) for hit in found] == [("0", None), ("1", None)]


async def test_stuck_actions_of_a_bot_stop_no_other(monkeypatch):
    threads = platform_threads.ActionThreads(threads=3, per_bot=2)
    go_on = threading.Event()
    stuck = [threads.start("a", go_on.wait) for _ in range(2)]
    with pytest.raises(ProtocolError) as refused:
        threads.start("a", dict)
    assert (refused.value.code, refused.value.retryable) == ("rate_limited", True)
    assert await threads.start("b", dict) == {}
    stuck.append(threads.start("b", go_on.wait))
    with pytest.raises(ProtocolError):
        threads.start("c", dict)
    go_on.set()
    assert [await one for one in stuck] == [True] * 3
    assert await threads.start("a", dict) == {}


def test_what_is_no_message_opens_no_conversation(sender):
    caller = sender()
    before = Conversation.objects.count()
    params = {"target_id": "g-9", "text": ""}
    asked = {"action": "send_message", "params": params}
    assert caller.refused("call_platform_api", **asked) == "invalid_request"
    params["text"] = "x"
    type(caller.run).objects.filter(pk=caller.run.pk).update(status="queued")
    assert caller.refused("call_platform_api", **asked) == "run.not_active"
    assert Conversation.objects.count() == before


def test_a_message_without_a_run_goes_where_those_of_runs_go(
    sender, workspace, bot, monkeypatch
):
    caller = sender()
    rows = {
        thread: Conversation.objects.create(
            workspace=workspace,
            bot_id=bot.public_id,
            external_id="g-1",
            thread=thread,
            key=f"g-1 {thread}",
        )
        for thread in ("", "aside")
    }
    depths = []
    monkeypatch.setattr(
        sending, "wake_deliveries", lambda _: depths.append(depth_of_transaction())
    )
    monkeypatch.setattr(sending, "caller_of", lambda *_: None)  # the gateway's tests
    outside = depth_of_transaction()
    data = {
        "bot_uuid": str(bot.public_id),
        "target_id": "g-1",
        "message_chain": [{"type": "Plain", "text": "x"}],
    }
    by = Registered(uuid4(), "acme/helper", str(workspace.pk))
    call = ConnectionCall(by, "send_message", data, Inline())
    async_to_sync(sending.send_message)(call)
    sent(caller)
    assert {row.conversation for row in Delivery.objects.all()} == {rows[""]}
    assert depths == [outside + 1]
    data["target_id"] = "g-2"
    with pytest.raises(ProtocolError) as refused:
        async_to_sync(sending.send_message)(call)
    assert refused.value.code == "not_found"
