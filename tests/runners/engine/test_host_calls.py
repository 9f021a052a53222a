"""Which host calls a run may make at all, asked of the engine and a real Redis."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from langbot.lib.redis import node_inbox, stream_client
from runners.access import Access
from runners.choices import HostCallStatus, RunStatus
from runners.engine.active import ActiveRun, Tenure
from runners.engine.engine import Engine
from runners.engine.placement import Place
from runners.engine.snapshot import RunFacts
from runners.gateway.messages import Kind, read_node_message
from runners.host_api import dispatch
from runners.host_api.calls import HostCall as Call
from runners.host_api.calls import journalled
from runners.ledger import journal
from runners.ledger.batches import Ending, end_run, write_batches
from runners.ledger.journal import CallKey
from runners.ledger.state_store import read_state
from runners.models import AgentRun, HostCall
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Action, encode, parse_frame
from tests.runners.ledger.test_fence import running

pytestmark = pytest.mark.django_db(transaction=True)

SCOPE_KEY = "conversation:v2:abc"
IN_A_MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def working_engine():
    """An engine that carries what it is given and claims nothing."""
    engine = Engine()
    try:
        yield engine
    finally:
        await engine.reader.stop()
        engine.writer.close()
        engine.database.shutdown()


def carried(engine, run, token, deadline_at=None):
    facts = RunFacts(
        pk=run.pk,
        public_id=run.public_id,
        conversation_id=run.conversation_id,
        conversation_public_id=str(uuid4()),
        workspace_id=run.workspace_id,
        runner_id=run.runner_id,
        event_type="message.received",
        access=Access(state_scopes=["conversation"], apis={"state": True}),
        scope_keys={"conversation": SCOPE_KEY},
        snapshot={},
        deadline_at=deadline_at or datetime.now(UTC) + IN_A_MINUTE,
    )
    place = Place(f"node-{uuid4()}", uuid4())
    active = ActiveRun(facts, Tenure(token, 1, place), engine.on_call)
    engine.active[run.public_id] = active
    return active


class Plugin:
    """What the run's plugin sends and gets."""

    def __init__(self, engine, active):
        self.engine, self.active = engine, active
        self.inbox = node_inbox(active.tenure.place.web_node)
        self.calls = 0

    async def call(self, action, seq_id=None, **data):
        """Return the answer's data, or the code of its error."""
        return await self.ask(action, data, seq_id)

    async def ask(self, action, data, seq_id=None):
        """Do the same with data of any names."""
        self.calls += 1
        number = self.calls if seq_id is None else seq_id
        run_id = str(self.active.facts.public_id)
        frame = {"seq_id": number, "action": action, "data": {"run_id": run_id, **data}}
        self.active.feed(f"{self.calls}-0", encode(frame))
        response = await self._answer(number)
        return response.error().code if response.is_error else response.data

    async def _answer(self, number):
        """Return the call's first frame; earlier streams may still have some."""
        client: Any = stream_client()
        try:
            async with asyncio.timeout(10):
                while True:
                    entries = await client.xrange(self.inbox)
                    for entry_id, fields in entries:
                        await client.xdel(self.inbox, entry_id)
                        message: Any = await read_node_message(client, fields)
                        if message.kind is not Kind.FRAME:
                            continue
                        frame = parse_frame(message.payload)
                        if frame.seq_id == number:
                            return frame
                    await asyncio.sleep(0.01)
        finally:
            await client.aclose()

    async def set_state(self, value=1, **more):
        given = {"scope": "conversation", "key": "k", "value": value, **more}
        return await self.call(Action.STATE_SET, **given)


@asynccontextmanager
async def plugin_of(agent, **more):
    run, token = await sync_to_async(running)(agent)
    async with working_engine() as engine:
        yield Plugin(engine, carried(engine, run, token, **more)), run


def stored():
    return read_state(SCOPE_KEY, "k")


async def test_a_call_in_time_is_answered(agent):
    async with plugin_of(agent) as (plugin, _run):
        assert await plugin.set_state(5) == {"success": True}
        assert await sync_to_async(stored)() == 5


async def test_a_call_after_the_deadline_gets_the_typed_error(agent):
    late = datetime.now(UTC) - timedelta(milliseconds=10)
    async with plugin_of(agent, deadline_at=late) as (plugin, _run):
        assert await plugin.set_state() == "deadline_exceeded"
        for action in (Action.STATE_GET, Action.RUN_GET, Action.INVOKE_LLM_STREAM):
            assert await plugin.call(action) == "deadline_exceeded"
        # It may always stop what it has begun.
        assert await plugin.call(Action.CANCEL_ACTION) == {"cancelled": False}
        assert await sync_to_async(stored)() is None


async def test_the_deadline_is_checked_at_each_call(agent):
    soon = datetime.now(UTC) + timedelta(seconds=0.7)
    async with plugin_of(agent, deadline_at=soon) as (plugin, _run):
        assert await plugin.set_state() == {"success": True}
        await asyncio.sleep(max(0.0, soon.timestamp() - time.time()) + 0.01)
        assert await plugin.set_state(2) == "deadline_exceeded"
        assert await sync_to_async(stored)() == 1


async def test_a_call_of_a_run_that_ends_is_refused(agent):
    async with plugin_of(agent) as (plugin, _run):
        plugin.active.log.fail(ErrorCode.RUNNER_ERROR, "it broke")
        assert await plugin.set_state() == "run.not_active"


async def end_elsewhere(run):
    ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled")
    await sync_to_async(end_run)(run.pk, run.conversation_id, ending)


async def park(run):
    rows = AgentRun.objects.filter(pk=run.pk)
    await rows.aupdate(status=RunStatus.REQUIRES_ACTION)


@pytest.mark.parametrize("leave", [end_elsewhere, park])
async def test_a_run_that_another_process_ended_or_parked_changes_nothing(agent, leave):
    async with plugin_of(agent) as (plugin, run):
        assert await plugin.set_state(1) == {"success": True}
        await leave(run)
        assert await plugin.set_state(2) == "run.not_active"
        deleted = await plugin.call(Action.STATE_DELETE, scope="conversation", key="k")
        assert deleted == "run.not_active"
        assert await sync_to_async(stored)() == 1


async def test_a_repeat_of_a_done_call_is_answered_after_the_end_too(agent):
    async with plugin_of(agent) as (plugin, run):
        assert await plugin.set_state(1, seq_id=7) == {"success": True}
        await end_elsewhere(run)
        assert await plugin.set_state(1, seq_id=7) == {"success": True}


async def test_a_worker_forgets_runs_that_the_ledger_took_from_it(agent):
    from runners.engine.adoption import Adoption

    async with plugin_of(agent) as (plugin, run):
        engine, adoption = plugin.engine, Adoption(plugin.engine)
        rows = AgentRun.objects.filter(pk=run.pk)
        await rows.aupdate(node=engine.node)
        for _ in range(3):
            adoption._last_orphans = 0.0
            await adoption._release_orphans()
        assert not plugin.active.is_closed
        await end_elsewhere(run)
        for _ in range(2):
            adoption._last_orphans = 0.0
            await adoption._release_orphans()
        async with asyncio.timeout(5):
            while engine._tasks:
                await asyncio.sleep(0.01)
        await engine.outgoing.drain()
        assert plugin.active.is_closed
        async with asyncio.timeout(5):
            entries = await engine.client.xrange(plugin.inbox)
        assert [fields[b"k"] for _, fields in entries] == [b"cancel"]


# The end of silence


def overdue_after(active, seconds):
    now = active.last_activity + seconds
    return active.overdue(now, time.time())


async def test_ten_minutes_of_silence_end_a_run_as_timeout(agent):
    long = datetime.now(UTC) + timedelta(hours=1)
    async with plugin_of(agent, deadline_at=long) as (plugin, run):
        active = plugin.active
        assert not overdue_after(active, 599)
        await plugin.set_state()  # any sign of life begins the time anew
        assert not overdue_after(active, 600)
        active._open_calls[99] = "1-0"
        assert not overdue_after(active, 601)  # it waits for us
        active.answered(99)
        assert overdue_after(active, 601)
        await sync_to_async(write_batches)([active.take_batch()])
        ended = await AgentRun.objects.aget(pk=run.pk)
        assert (ended.status, ended.error_code) == ("timeout", "runner.idle")
        assert ended.retryable


@pytest.mark.parametrize("raised", [OperationalError("gone"), RuntimeError("a bug")])
async def test_a_failure_of_ours_invites_no_second_effect(agent, monkeypatch, raised):
    async def fail(_call):
        raise raised

    monkeypatch.setattr(dispatch, "authorize", lambda *_: None)
    async with plugin_of(agent) as (plugin, _run):
        again = {}
        for number, action in enumerate(("call_tool", "reply_stream", "state_get")):
            monkeypatch.setitem(dispatch.HANDLERS, action, fail)
            run_id = str(plugin.active.facts.public_id)
            frame = {"seq_id": number, "action": action, "data": {"run_id": run_id}}
            plugin.active.feed(f"{number + 1}-0", encode(frame))
            again[action] = (await plugin._answer(number)).error().retryable
    assert again == {"call_tool": False, "reply_stream": False, "state_get": True}


# The journal of effects outside our database


def key_of(run, seq_id=1):
    return CallKey(run.pk, 1, seq_id, "call_tool")


def test_an_effect_is_begun_once_and_its_answer_kept(agent):
    run, _ = running(agent)
    assert journal.before(key_of(run)) is None
    row = HostCall.objects.get()
    assert (row.status, row.answer) == (HostCallStatus.STARTED, None)
    journal.after(key_of(run), {"result": 1})
    assert journal.before(key_of(run)) == {"result": 1}
    row.refresh_from_db()
    assert row.answered_at is not None
    journal.after(key_of(run), {"result": 2})  # a second answer changes nothing
    assert journal.before(key_of(run)) == {"result": 1}


def test_an_effect_that_never_answered_is_not_done_again(agent):
    run, _ = running(agent)
    journal.before(key_of(run))
    for _ in range(2):
        with pytest.raises(ProtocolError) as error:
            journal.before(key_of(run))
        assert error.value.code == ErrorCode.OUTCOME_UNKNOWN
    assert HostCall.objects.count() == 1


def test_a_definite_failure_is_repeated_as_it_was(agent):
    run, _ = running(agent)
    journal.before(key_of(run))
    given = ProtocolError("not_found", "no such tool", details={"tool": "x"})
    journal.failed(key_of(run), given)
    with pytest.raises(ProtocolError) as error:
        journal.before(key_of(run))
    assert error.value.as_dict() == given.as_dict()


@pytest.mark.parametrize("status", ["completed", "requires_action", "queued"])
def test_no_effect_of_a_run_that_is_not_running(agent, status):
    run, _ = running(agent)
    ended = datetime.now(UTC) if status == "completed" else None
    AgentRun.objects.filter(pk=run.pk).update(status=status, finished_at=ended)
    done: dict[str, Any] = {}
    for attempt in (
        lambda: journal.before(key_of(run)),
        lambda: journal.once(key_of(run), lambda: done.setdefault("it", {})),
    ):
        with pytest.raises(ProtocolError) as error:
            attempt()
        assert error.value.code == ErrorCode.RUN_NOT_ACTIVE
    assert not HostCall.objects.exists()


def test_an_answer_is_kept_even_when_the_run_has_ended_meanwhile(agent):
    run, _ = running(agent)
    journal.before(key_of(run))
    ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled")
    end_run(run.pk, run.conversation_id, ending)
    journal.after(key_of(run), {"result": 1})
    assert journal.before(key_of(run)) == {"result": 1}


async def through_the_journal(engine, run, effect):
    facts: Any = None  # a journal looks at the key only
    call = Call(facts, {}, engine.database, key_of(run))
    return await journalled(call, effect)


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        ({"result": 1}, None),
        (ProtocolError("not_found", "gone"), "not_found"),
        (ProtocolError("outcome_unknown", "the line broke"), "outcome_unknown"),
        (RuntimeError("a bug"), "outcome_unknown"),
    ],
)
async def test_a_call_through_the_journal_has_its_effect_once(agent, outcome, again):
    run, _token = await sync_to_async(running)(agent)
    effects = []

    async def effect():
        effects.append(1)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async with working_engine() as engine:
        try:
            first = await through_the_journal(engine, run, effect)
        except ProtocolError as error:
            first = error
        try:
            second = await through_the_journal(engine, run, effect)
        except ProtocolError as error:
            second = error
    assert first is outcome or first == outcome or first.code == again
    assert second == outcome if again is None else second.code == again
    assert effects == [1]


async def test_of_many_workers_at_once_one_has_the_effect(agent):
    run, _token = await sync_to_async(running)(agent)
    effects, refused = [], asyncio.Semaphore(0)

    async def effect():
        effects.append(1)
        for _ in range(4):  # it goes on until all others were told
            await refused.acquire()
        return {"result": 1}

    async def attempt(engine):
        try:
            return await through_the_journal(engine, run, effect)
        except ProtocolError as error:
            refused.release()
            return error

    async with working_engine() as engine, asyncio.timeout(30):
        found = await asyncio.gather(*[attempt(engine) for _ in range(5)])
    assert effects == [1]
    assert found.count({"result": 1}) == 1
    codes = {one.code for one in found if isinstance(one, ProtocolError)}
    assert codes == {ErrorCode.OUTCOME_UNKNOWN}
