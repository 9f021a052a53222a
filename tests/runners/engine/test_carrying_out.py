"""Decisions about paused runs: one worker each, one execution each, whoever dies."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from runners.choices import RunStatus
from runners.engine.carrying_out import Decisions, take_decided
from runners.engine.engine import Engine
from runners.engine.snapshot import freeze, load_runs
from runners.engine.starter import Starter
from runners.ledger import claims
from runners.ledger.pausing import settle_in_call
from runners.ledger.resuming import decisions_of
from runners.models import AgentRun, HostCall, PendingAction
from tests.runners.admin_rows import add_events, make_action, make_run
from tests.runners.host_api.providers import Tools, install

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def worker():
    """An engine that only looks for decisions, and falls silent at the end."""
    engine = Engine()
    engine.starter = Starter(engine)
    engine.node = (await engine.database(claims.start_node, "worker")).public_id
    try:
        yield Decisions(engine)
    finally:
        await asyncio.gather(*engine._tasks)
        await engine.database(claims.stop_node, engine.node)
        await engine.starter.stop()
        await engine.reader.stop()
        await engine.outgoing.drain()
        engine.writer.close()
        engine.database.shutdown()


@pytest.fixture
def tools(monkeypatch):
    tools = Tools()
    install(monkeypatch, tools)
    return tools


@pytest.fixture
def decided(agent, tools):
    """Make a decided action of a parked run."""

    def make(run=None, status="approved", **fields):
        if run is None:
            run = make_run(agent, RunStatus.REQUIRES_ACTION)
            (loaded,) = load_runs([run.pk])
            snapshot = freeze(loaded).snapshot
            snapshot["access"]["sources"] = {"tools": {"shout": "tests"}}
            snapshot |= {"seconds_left": 60.0, "earlier_invocations": [1]}
            AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
        values = {"tool_name": "shout", "arguments": {"text": "hi"}, "parked": True}
        values |= {"decided_at": datetime.now(UTC), "plugin_seq_id": 7}
        values |= {"decision": {"decision": "approve"}, "status": status}
        return make_action(run, **{**values, **fields})

    return make


async def carry_out(action):
    async with worker() as decisions:
        await decisions.poll()
    await sync_to_async(action.refresh_from_db)()
    run = await AgentRun.objects.aget(pk=action.run_id)
    return action, run


async def test_an_approved_tool_runs_once_and_its_run_is_queued(decided, tools):
    action = await sync_to_async(decided)()
    action, run = await carry_out(action)
    assert [call.name for call in tools.calls] == ["shout"]
    assert (run.status, run.invocation, run.last_runner_sequence) == ("queued", 2, 0)
    assert action.settled_at is not None
    kinds = [event.type async for event in run.events.order_by("seq")]
    assert kinds[-2:] == ["action.resolved", "tool.call.completed"]
    rows = [row.item_type async for row in run.transcript.order_by("seq")]
    assert rows[-2:] == ["tool_call", "tool_result"]
    await carry_out(action)
    assert len(tools.calls) == 1


async def test_what_a_dead_worker_had_begun_is_not_done_again(decided, tools):
    action = await sync_to_async(decided)(node=uuid4())
    await HostCall.objects.acreate(
        run_id=action.run_id, invocation=1, plugin_seq_id=7, action="call_tool"
    )
    action, run = await carry_out(action)
    assert tools.calls == []
    assert action.answer["error"]["code"] == "outcome_unknown"
    assert run.status == "queued"


async def test_what_a_dead_worker_had_done_is_told_as_it_was(decided, tools):
    action = await sync_to_async(decided)(node=uuid4())
    await HostCall.objects.acreate(
        run_id=action.run_id,
        invocation=1,
        plugin_seq_id=7,
        action="call_tool",
        status="answered",
        answer={"result": {"said": "HI"}},
    )
    action, run = await carry_out(action)
    assert tools.calls == []
    assert action.answer == {"result": {"said": "HI"}}
    assert run.status == "queued"


@pytest.mark.parametrize(
    ("status", "decision", "answer"),
    [
        ("rejected", {"decision": "reject", "reason": "no"}, "tool_rejected"),
        ("responded", {"decision": "respond", "values": {"a": 1}}, {"a": 1}),
    ],
)
async def test_other_decisions_execute_nothing(
    decided, tools, status, decision, answer
):
    action = await sync_to_async(decided)(status=status, decision=decision)
    action, run = await carry_out(action)
    assert tools.calls == []
    told = action.answer.get("result") or action.answer["error"]["code"]
    assert (told, run.status) == (answer, "queued")


async def test_a_run_goes_on_with_the_last_of_its_decisions(decided, tools):
    first = await sync_to_async(decided)()
    second = await sync_to_async(decided)(
        await AgentRun.objects.aget(pk=first.run_id),
        plugin_seq_id=8,
        status="open",
        decided_at=None,
    )
    _, run = await carry_out(first)
    assert (run.status, len(tools.calls)) == ("requires_action", 1)
    await PendingAction.objects.filter(pk=second.pk).aupdate(
        status="approved", decided_at=datetime.now(UTC)
    )
    _, run = await carry_out(second)
    assert (run.status, run.invocation, len(tools.calls)) == ("queued", 2, 2)


REJECTED = {"decision": {"decision": "reject"}, "status": "rejected"}
TOOL_REJECTED = {"error": {"code": "tool_rejected", "message": "no"}}


async def test_a_call_that_its_pausing_run_answered_is_not_asked_again(decided, tools):
    """One call was rejected in time, another waited too long: nobody told of both."""
    waited = await sync_to_async(decided)()
    run = await AgentRun.objects.aget(pk=waited.run_id)
    answered = await sync_to_async(decided)(
        run, plugin_seq_id=8, parked=False, **REJECTED
    )
    told = await sync_to_async(decided)(run, plugin_seq_id=9, parked=False, **REJECTED)
    data = {"tool_call_id": told.tool_call_id, "tool_name": "shout", "error": "no"}
    await sync_to_async(add_events)(run, ("tool.call.completed", data))
    for action in (answered, told):
        await sync_to_async(settle_in_call)(action, TOOL_REJECTED)
    _, run = await carry_out(waited)
    assert (run.status, run.invocation) == ("queued", 2)
    names = [waited.tool_call_id, answered.tool_call_id, told.tool_call_id]
    events = run.events.filter(type="tool.call.completed").order_by("seq")
    outcomes = {e.data["tool_call_id"]: e.data["error"] async for e in events}
    assert outcomes == dict(zip(names, [None, "tool_rejected: no", "no"], strict=True))
    assert await events.acount() == 3
    resolved = run.events.filter(type="action.resolved").order_by("seq")
    named = [event.data["tool_call_id"] async for event in resolved]
    assert named == names[:2]
    rows = [row async for row in run.transcript.filter(item_type="tool_result")]
    assert {row.content["tool_call_id"] for row in rows} == set(names)


async def test_a_call_that_is_answered_as_its_run_pauses_lets_it_go_on(decided, tools):
    """Its worker has written the pause, and is late with what it was answered."""
    action = await sync_to_async(decided)(**REJECTED)
    await sync_to_async(settle_in_call)(action, TOOL_REJECTED)
    action, run = await carry_out(action)
    assert (run.status, run.invocation) == ("queued", 2)
    kinds = [event.type async for event in run.events.order_by("seq")]
    assert kinds == ["action.resolved", "tool.call.completed"]
    (told,) = (await sync_to_async(decisions_of)(run))["actions"]
    assert told["error"]["code"] == "tool_rejected"


async def test_a_run_that_was_cancelled_meanwhile_stays_so(decided, tools):
    action = await sync_to_async(decided)()
    ended = {"status": "cancelled", "finished_at": datetime.now(UTC)}
    await AgentRun.objects.filter(pk=action.run_id).aupdate(**ended)
    action, run = await carry_out(action)
    assert (tools.calls, run.status) == ([], "cancelled")
    assert action.settled_at is not None


async def test_a_decision_is_one_living_workers(decided, tools):
    action = await sync_to_async(decided)()
    async with worker() as one, worker() as other:
        nodes = [one._engine.node, other._engine.node]
        taken = [await sync_to_async(take_decided)(node, 10) for node in nodes]
        assert [len(found) for found in taken] == [1, 0]
        await sync_to_async(claims.stop_node)(nodes[0])
        assert await sync_to_async(take_decided)(nodes[1], 10) == [action]


async def test_what_an_error_left_behind_is_taken_up_again(decided, tools):
    action = await sync_to_async(decided)()
    async with worker() as decisions:
        node = decisions._engine.node
        assert await sync_to_async(take_decided)(node, 10) == [action]
        assert await sync_to_async(take_decided)(node, 10, [action.pk]) == []
        await decisions.poll()
    await sync_to_async(action.refresh_from_db)()
    assert len(tools.calls) == 1
    assert action.settled_at is not None
