"""Replies before the end of a run: each once, in order, in transcript and outbox."""

import base64
import time
from typing import Any

import pytest

from artifacts.models import Artifact
from runners.choices import DeliveryStatus
from runners.ledger import saying
from runners.models import Delivery, EventLog, HostCall, TranscriptItem
from tests.factories import BotFactory

PERMISSIONS = {"tools": ["call"]}


@pytest.fixture
def bot(workspace):
    return BotFactory.create(workspace=workspace)


@pytest.fixture
def replier(caller_of, bot):
    return caller_of(PERMISSIONS, run={"bot_id": bot.public_id})


def reply(caller, text="Hello", **more):
    data = {"tool_name": "event_reply", "parameters": {"text": text}}
    return caller("call_tool", **data, **more)["result"]


def by_chain(caller, *message, **more):
    params = {"message": list(message), "quote_origin": True}
    data = {"action": "send_message", "context_tool": "event_reply", "params": params}
    return caller("call_platform_api", **data, **more)["result"]


def said():
    return list(TranscriptItem.objects.order_by("seq").values_list("text", flat=True))


def test_a_reply_is_said_once_in_transcript_ledger_and_outbox(replier):
    first = reply(replier, seq_id=500)
    assert reply(replier, seq_id=500) == first
    assert len(replier.told.events) == 2  # the handle takes one of a call
    assert first["status"] == "queued"
    assert said() == ["Hello"]
    delivery = Delivery.objects.get()
    assert str(delivery.public_id) == first["delivery_id"]
    assert delivery.status == DeliveryStatus.PENDING
    assert delivery.payload["text"] == "Hello"
    assert EventLog.objects.filter(type="message.sent").count() == 1
    event = replier.told.events[0]
    assert event.type == "message.completed"
    assert (event.data["text"], event.data["delivered"]) == ("Hello", True)


def test_replies_keep_their_order(replier):
    for text in ("one", "two", "three"):
        reply(replier, text)
    texts = [row.payload["text"] for row in Delivery.objects.order_by("pk")]
    assert texts == said() == ["one", "two", "three"]
    assert len({row.idempotency_key for row in Delivery.objects.all()}) == 3


def test_without_a_bot_or_in_a_dry_run_nothing_is_sent(caller_of, bot):
    for given in ({}, {"bot_id": bot.public_id, "dry_run": True}):
        answer = reply(caller_of(PERMISSIONS, run=given))
        assert (answer["status"], answer["delivery_id"]) == ("recorded", None)
    assert said() == ["Hello", "Hello"]
    assert not Delivery.objects.exists()


def test_a_chain_becomes_text_components_and_files(replier):
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
    by_chain(
        replier,
        {"type": "At", "target": "7", "display": "Ada"},
        {"type": "Plain", "text": "look"},
        {"type": "Image", "base64": f"data:image/png;base64,{image}", "url": ""},
    )
    payload = Delivery.objects.get().payload
    assert payload["text"] == "@Ada look"
    assert payload["quote_origin"] is True
    artifact = Artifact.objects.get()
    assert (artifact.type, artifact.mime_type) == ("image", "image/png")
    assert payload["artifacts"][0]["artifact_id"] == str(artifact.public_id)
    assert payload["message"][2] == {
        "type": "Image",
        "url": "",
        "artifact_id": str(artifact.public_id),
    }


def test_files_of_the_run_go_with_a_reply(replier):
    known = {"artifact_id": "a-1", "id": "a-1", "type": "file", "name": "n.txt"}
    replier.told.known["a-1"] = known
    by_chain(replier, file_ids=["a-1"])
    assert Delivery.objects.get().payload["artifacts"] == [known]
    data = {"action": "send_message", "context_tool": "event_reply", "params": {}}
    refused = replier.refused("call_platform_api", **data, file_ids=["a-2"])
    assert refused == "not_found"
    too_many = replier.refused("call_platform_api", **data, file_ids=["a-1"] * 101)
    assert too_many == "invalid_request"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ([], "invalid_request"),
        (["text"], "invalid_request"),
        ([{"text": "no type"}], "invalid_request"),
        ([{"type": "Image", "base64": "no base64!"}], "invalid_request"),
        ([{"type": "File", "base64": "QUFB" * 400_000}], "too_large"),
        ([{"type": "Plain", "text": "x"}] * 201, "too_large"),
        ([{"type": "Plain", "text": "x" * 200_001}], "too_large"),
    ],
)
def test_what_is_no_message_is_not_sent(replier, message, code):
    data = {"action": "send_message", "context_tool": "event_reply"}
    params = {"message": message}
    assert replier.refused("call_platform_api", **data, params=params) == code
    assert said() == []
    assert not Delivery.objects.exists()


def test_replies_need_the_right(caller_of, bot):
    kinds: list[dict[str, Any]] = [{"permissions": {}}, {"binding": {"tools": []}}]
    for given in kinds:
        caller = caller_of(**{"permissions": PERMISSIONS, **given})
        data = {"tool_name": "event_reply", "parameters": {"text": "x"}}
        assert caller.refused("call_tool", **data) == "permission_denied"
        data = {"action": "send_message", "context_tool": "event_reply", "params": {}}
        assert caller.refused("call_platform_api", **data) == "permission_denied"
        data = {"stream_id": "s", "operation": "finish", "text": "x"}
        assert caller.refused("reply_stream", **data) == "permission_denied"


def stream(caller, operation, text="", **more):
    data = {"stream_id": "s-1", "operation": operation, "text": text}
    return caller("reply_stream", **data, **more)["result"]


def test_a_growing_reply_is_sent_whole_at_its_end(replier):
    assert stream(replier, "update", "Hel") == {"status": "buffered"}
    assert not Delivery.objects.exists()
    assert stream(replier, "finish", "Hello")["status"] == "queued"
    assert [row.payload["text"] for row in Delivery.objects.all()] == ["Hello"]
    refused = replier.refused(
        "reply_stream", stream_id="s-1", operation="finish", text="again"
    )
    assert refused == "conflict"
    assert said() == ["Hello"]


def test_an_aborted_reply_says_nothing(replier):
    stream(replier, "update", "Hel")
    assert stream(replier, "abort", "Hel") == {"status": "aborted"}
    assert said() == []
    assert replier.told.events == []


def test_a_growing_reply_has_at_most_200000_characters(replier):
    stream(replier, "update", "x" * 200_000)
    for operation in ("update", "finish"):
        data = {"stream_id": "s", "operation": operation, "text": "x" * 200_001}
        assert replier.refused("reply_stream", **data) == "too_large"
    for wrong in ({"operation": "shout"}, {"stream_id": ""}, {"stream_id": "x" * 101}):
        data = {"stream_id": "s", "operation": "update", "text": "", **wrong}
        assert replier.refused("reply_stream", **data) == "invalid_request"


def test_where_messages_can_be_edited_it_grows_live(replier, monkeypatch):
    monkeypatch.setattr(saying, "EDIT_PAUSE", -saying.EDIT_PAUSE)
    replier.facts.snapshot["can_edit"] = True
    stream(replier, "update", "H")
    stream(replier, "update", "He")  # the first one waits still: replaced
    first = Delivery.objects.get()
    assert first.payload["text"] == "He"
    Delivery.objects.update(status="delivered", attempts=1, platform_message_id="7")
    stream(replier, "update", "Hel")
    stream(replier, "finish", "Hello")
    edit = Delivery.objects.exclude(pk=first.pk).get()
    assert edit.payload["edit_of"] == str(first.public_id)
    assert edit.payload["text"] == "Hello"
    assert said() == ["Hello"]


def test_of_many_updates_a_second_few_are_written(replier):
    replier.facts.snapshot["can_edit"] = True
    begun = time.monotonic()
    answers = [stream(replier, "update", "x" * length) for length in range(1, 200)]
    most = 1 + (time.monotonic() - begun) / (saying.EDIT_PAUSE.total_seconds() / 2)
    assert answers[0] == {"status": "queued"}
    assert HostCall.objects.filter(action="reply_stream").count() <= most
    stream(replier, "finish", "whole")
    assert said() == ["whole"]
    data = {"stream_id": "s-1", "operation": "update", "text": "more"}
    assert replier.refused("reply_stream", **data) == "conflict"


def test_an_abort_of_what_people_see_is_in_the_transcript(replier, monkeypatch):
    replier.facts.snapshot["can_edit"] = True
    stream(replier, "update", "Hel")
    assert stream(replier, "abort", "Hello")["status"] == "queued"
    item = TranscriptItem.objects.get()
    assert (item.text, item.metadata) == ("Hel", {"incomplete": True})
