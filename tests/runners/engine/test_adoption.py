"""Which runs a worker takes over, and which cannot go on."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from langbot.lib.redis import connection_runs, runner_connections, stream_client
from runners.choices import RunStatus
from runners.engine import sweeps
from runners.engine.active import ActiveRun, Tenure
from runners.engine.adoption import Adoption, finish_stuck_cancels
from runners.engine.carrying_out import Decisions
from runners.engine.engine import Engine
from runners.engine.placement import Place
from runners.engine.snapshot import freeze, load_runs, thaw
from runners.engine.starter import Starter
from runners.ledger import claims
from runners.ledger.pausing import EARLIER, SECONDS_LEFT
from runners.models import AgentRun, RunEvent, TranscriptItem
from tests.runners.admin_rows import add_events, make_run
from tests.support import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def adopter():
    """An engine that only looks for runs to take over, and falls silent at the end."""
    engine = Engine()
    engine.node = (await engine.database(claims.start_node, "adopter")).public_id
    try:
        yield Adoption(engine)
    finally:
        await engine.database(claims.stop_node, engine.node)
        await engine.reader.stop()
        await engine.outgoing.drain()
        engine.writer.close()
        engine.database.shutdown()


async def adopt_twice():
    """Two workers look, one after the other has fallen silent."""
    for _worker in range(2):
        async with adopter() as adoption:
            await adoption._adopt()


@pytest.mark.parametrize("sequence", [0, 3])
async def test_a_run_that_was_never_frozen_ends(agent, sequence):
    run = await sync_to_async(make_run)(
        agent,
        status=RunStatus.RUNNING,
        node=uuid4(),
        fencing_token=1,
        last_runner_sequence=sequence,
    )
    await adopt_twice()
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.error_code) == ("failed", "host_lost")
    kinds = [event.type async for event in RunEvent.objects.filter(run=run)]
    assert kinds.count("run.adopted") <= 1
    assert kinds[-1] == "run.failed"


def lost_run(agent, *events):
    """A frozen run that has said something, on a worker that is gone."""
    run = make_run(agent, status=RunStatus.RUNNING, node=uuid4(), fencing_token=1)
    add_events(run, *events)
    snapshot = freeze(load_runs([run.pk])[0]).snapshot
    AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot, last_runner_sequence=1)
    return run


def resumed_run(agent):
    """A run that was paused once and is queued again."""
    run = lost_run(agent)
    snapshot = AgentRun.objects.get(pk=run.pk).snapshot
    snapshot |= {SECONDS_LEFT: 60.0, EARLIER: [1]}
    AgentRun.objects.filter(pk=run.pk).update(
        status=RunStatus.QUEUED, node=None, invocation=2, snapshot=snapshot
    )
    return run


@asynccontextmanager
async def connection_for(run):
    """A plugin connection that serves the run's runner, as its web node tells."""
    client, place = stream_client(), Place(str(uuid4()), uuid4())
    key = runner_connections(run.workspace_id, run.runner_id)
    await client.zadd(key, {f"{place.web_node}|{place.connection_id}": time.time()})
    await client.expire(key, 60)
    try:
        yield place
    finally:
        await client.delete(key, connection_runs(place.connection_id))
        await client.aclose()


async def test_a_run_that_cannot_be_read_ends_and_keeps_no_other_from_going_on(agent):
    make = sync_to_async(lost_run)
    broken = await make(agent, ("message.delta", {"no": "text"}))
    sound = await make(agent, ("message.delta", {"text": "so far"}))
    async with adopter() as adoption:
        await adoption._adopt()
        carried = {run.facts.pk for run in adoption._engine.active.values()}
    assert carried == {sound.pk}
    await sync_to_async(broken.refresh_from_db)()
    assert (broken.status, broken.error_code) == ("failed", "host_lost")


async def test_a_worker_that_is_late_takes_nothing_from_the_next_invocation(agent):
    """It slept as it parked a run, which a person let go on elsewhere meanwhile."""
    run = await sync_to_async(lost_run)(agent)
    (loaded,) = await sync_to_async(load_runs)([run.pk])
    async with adopter() as adoption, connection_for(run) as place:
        engine = adoption._engine
        engine.starter, engine.decisions = Starter(engine), Decisions(engine)
        engine.is_draining = True  # it does no more than to give the run up
        facts = thaw(loaded)
        parked, later = (
            ActiveRun(facts, Tenure(number, number, place), engine.on_call)
            for number in (1, 2)
        )
        slots = connection_runs(place.connection_id)
        for one in (parked, later):
            number = one.tenure.invocation
            await engine.client.xadd(one.key, {"f": number})
            assert place == await engine.placement.reserve(
                run.public_id, str(run.workspace_id), run.runner_id, 60, 0, number
            )
        engine.parked(parked)
        await engine.outgoing.drain()
        left = await engine.client.xrange(later.key)
        assert [fields for _, fields in left] == [{b"f": b"2"}]
        assert not await engine.client.exists(parked.key)
        assert await engine.client.zcard(slots) == 1
        engine.ended(later)
        await engine.outgoing.drain()
        assert not await engine.client.exists(later.key, slots)


async def test_a_worker_that_is_late_as_it_starts_a_run_takes_none_of_its_frames(agent):
    """It slept behind the claim of a run that comes back from a pause."""
    run = await sync_to_async(resumed_run)(agent)
    async with adopter() as other, adopter() as adoption, connection_for(run):
        late = adoption._engine
        late.starter = Starter(late)
        transact = late.writer.transact

        async def sleeping(*args):
            claimed = await transact(*args)
            await late.database(claims.stop_node, late.node)
            await other._adopt()
            await other._engine.reader.stop()
            (carried,) = other._engine.active.values()
            await other._engine.client.xadd(carried.key, {"f": "from the plugin"})
            return claimed

        late.writer.transact = sleeping
        await late.starter._start([run.pk])
        (carried,) = other._engine.active.values()
        assert carried.facts.pk == run.pk
        left = await other._engine.client.xrange(carried.key)
        assert [fields for _, fields in left] == [{b"f": b"from the plugin"}]
        await other._engine.client.delete(carried.key)


@pytest.mark.parametrize("now", [{"invocation": 3}, {"status": "requires_action"}])
async def test_a_start_that_comes_too_late_keeps_no_slot(agent, now):
    """It slept in front of the claim, and the run was paused meanwhile."""
    run = await sync_to_async(resumed_run)(agent)
    async with adopter() as adoption, connection_for(run) as place:
        late = adoption._engine
        late.starter = Starter(late)
        transact, slots = late.writer.transact, connection_runs(place.connection_id)

        async def sleeping(*args):
            await AgentRun.objects.filter(pk=run.pk).aupdate(**now)
            assert await late.client.zcard(slots) == 1
            return await transact(*args)

        late.writer.transact = sleeping
        await late.starter._start([run.pk])
        assert not late.active
        assert not await late.client.exists(slots)


async def test_a_run_of_a_remote_runtime_is_left_to_it(agent):
    lease = datetime.now(UTC) + timedelta(minutes=1)
    run = await sync_to_async(make_run)(
        agent, status=RunStatus.RUNNING, node=uuid4(), claim_lease_expires_at=lease
    )
    await adopt_twice()
    assert await AgentRun.objects.filter(pk=run.pk, node=run.node).aexists()


@pytest.mark.parametrize(
    ("snapshot", "kept"), [({"delivery_policy": {}}, ["so far"]), ({"access": 7}, [])]
)
def test_a_cancel_that_its_worker_did_not_carry_out_keeps_what_was_said(
    agent, snapshot, kept
):
    run = ledger.begin(make_run(agent, status=RunStatus.QUEUED))
    ledger.write(run, "so ", "far", publish=False)
    asked = datetime.now(UTC) - timedelta(minutes=1)
    AgentRun.objects.update(cancel_requested_at=asked, snapshot=snapshot)
    assert finish_stuck_cancels() == 1
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("cancelled", "cancelled")
    said = TranscriptItem.objects.filter(run=run, role="assistant")
    assert [item.text for item in said] == kept
    assert all(item.metadata == {"incomplete": True} for item in said)


async def test_sweeps_that_hang_keep_nobody_from_adopting(monkeypatch, agent):
    """Rounds that wait for a lock of a suspended worker do not fill the pool."""
    begun, gate = [], threading.Event()

    def hang():
        begun.append(1)
        gate.wait(60)

    hanging = sweeps.Periodic("hanging", 0.0, hang)
    monkeypatch.setattr(sweeps, "registered", lambda: [hanging])
    run = await sync_to_async(make_run)(agent, status=RunStatus.RUNNING, node=uuid4())
    async with adopter() as adoption:
        try:
            for _ in range(10):
                await adoption._sweep()
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                await adoption._adopt()
        finally:
            gate.set()
            await asyncio.gather(*adoption._engine._tasks)
    assert begun == [1]
    assert await RunEvent.objects.filter(run=run, type="run.adopted").acount() == 1
