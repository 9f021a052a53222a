"""What an agent did with tools, as rows of the transcript."""

import json

import pytest

from runners.choices import EventType
from runners.ledger.fence import NewEvent
from runners.ledger.history import transcript_page, wire_item
from runners.models import AgentRun, TranscriptItem
from runners.protocol.pages import TranscriptItem as WireItem
from tests.runners.admin_rows import make_run
from tests.support import ledger

ACCESS = {"capabilities": {"tool_calling": True}, "tools": {"add": ["call"]}}


@pytest.fixture
def run(agent):
    run = ledger.begin(make_run(agent, status="queued"))
    AgentRun.objects.filter(pk=run.pk).update(snapshot={"access": ACCESS})
    return run


def called(call_id, result=None, error=None):
    named = {"tool_call_id": call_id, "tool_name": "add"}
    return [
        NewEvent(EventType.TOOL_CALL_STARTED, {**named, "parameters": {"a": 1}}),
        NewEvent(
            EventType.TOOL_CALL_COMPLETED, {**named, "result": result, "error": error}
        ),
    ]


def finish(run, *calls, snapshot=None):
    if snapshot is not None:
        AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
    for events in calls:
        ledger._write(run, events, None, publish=False)
    ledger.complete(run, "done", publish=False)
    return list(TranscriptItem.objects.order_by("seq"))


def test_calls_and_their_answers_come_before_the_reply(run):
    rows = finish(run, called("c1", {"sum": 3}), called("c2", error="broken: no"))
    assert [(row.role, row.item_type) for row in rows] == [
        ("assistant", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "message"),
    ]
    call, answer = rows[0].content, rows[1].content
    assert call["tool_calls"][0]["id"] == answer["tool_call_id"] == "c1"
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert json.loads(answer["content"]) == {"sum": 3}
    assert json.loads(rows[3].content["content"]) == {"error": "broken: no"}


def test_runners_read_them_as_messages(run):
    finish(run, called("c1", {"sum": 3}))
    items = transcript_page(run.conversation_id, direction="forward").items
    wire = [WireItem.model_validate(wire_item(item, "c")) for item in items]
    call, answer, reply = wire
    assert call.content_json is not None
    assert call.content_json["tool_calls"][0]["function"]["name"] == "add"
    assert answer.content_json == items[1].content
    assert reply.text == "done"


@pytest.mark.parametrize(
    "access",
    [
        {"capabilities": {}, "tools": {"add": ["call"]}},
        {"capabilities": {"tool_calling": True}, "tools": {"event_reply": ["call"]}},
        {},
    ],
)
def test_a_run_without_tools_has_no_such_rows(run, access):
    rows = finish(run, called("c1", {"sum": 3}), snapshot={"access": access})
    assert [row.item_type for row in rows] == ["message"]


def test_a_call_without_an_answer_is_no_row(run):
    rows = finish(run, called("c1", {"sum": 3})[:1])
    assert [row.item_type for row in rows] == ["message"]
