"""Model calls of runs against a real provider: reserved before, recorded once after."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from agents.models import (
    Model,
    ModelPrice,
    ModelProvider,
    OpenModelCall,
    Quota,
    QuotaWindow,
    UsageRecord,
)
from agents.resources.llm import close_clients
from agents.resources.reserving import begin_call
from langbot.lib.group_commit import WritingExecutor
from runners.engine.snapshot import freeze, load_runs
from runners.host_api import metering
from runners.host_api.calls import HostCall
from runners.host_api.models import invoke_llm, invoke_llm_stream
from runners.host_api.vectors import invoke_embedding
from runners.ledger.costs import roll_up, sweep_lost_calls
from runners.ledger.journal import CallKey
from runners.models import AgentRun
from runners.protocol.errors import ProtocolError
from tests.agents.resources.chat_server import chat_server, completion, delta
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db(transaction=True)
COST = 7 * 2 + 3 * 10  # what `completion` tells, by the price below
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def world(caller_of, workspace, settings):
    """A running run, and a model at an address that a test fills in."""
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["127.0.0.1"]}
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    models = {
        kind: Model.objects.create(provider=provider, name=kind, kind=kind)
        for kind in ("llm", "embedding")
    }
    for model in models.values():
        ModelPrice.objects.create(
            model=model, input_microdollars=2_000_000, output_microdollars=10_000_000
        )
    names = [str(model.public_id) for model in models.values()]
    caller = caller_of({"models": ["invoke", "stream"]}, models=names)
    return World(caller, provider, models)


class World:
    def __init__(self, caller, provider, models):
        self.run, self.facts = caller.run, caller.facts
        self.provider, self.models = provider, models
        self.database = WritingExecutor("metering")
        self.calls = 0

    def call(self, kind="llm", **data):
        self.calls += 1
        key = CallKey(self.run.pk, 1, self.calls, "invoke_llm")
        name = {"llm": "llm_model_uuid", "embedding": "embedding_model_uuid"}[kind]
        data[name] = str(self.models[kind].public_id)
        return HostCall(self.facts, data, self.database, key, token=1)

    async def at(self, script, use):
        """Serve a provider by `script` while `use` runs; returns what it returns."""
        async with chat_server(script) as server:
            await ModelProvider.objects.aupdate(base_url=server.url)
            try:
                return await use()
            finally:
                await close_clients()
                await sync_to_async(self.database.shutdown)()

    async def records(self):
        return [row async for row in UsageRecord.objects.order_by("pk")]

    async def totals(self):
        run = await AgentRun.objects.aget(pk=self.run.pk)
        return run.usage, run.cost_microdollars


async def answer(exchange):
    await exchange.send(200, completion(content="Hi"))


async def stream_hello(exchange):
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    told = {"id": "c", "choices": [], "usage": usage}
    await exchange.stream(delta(content="Hi"), delta("stop"), told)


async def test_a_whole_answer_is_recorded_before_the_plugin_has_it(world):
    async def use():
        for _ in range(2):
            given = await invoke_llm(world.call(messages=HELLO))
        return given

    given = await world.at(answer, use)
    assert given["usage"]["total_tokens"] == 10
    rows = await world.records()
    assert [(row.cost_microdollars, row.call) for row in rows] == [(COST, 1), (COST, 2)]
    assert {row.run_id for row in rows} == {world.run.public_id}
    usage, cost = await world.totals()
    assert cost == 2 * COST
    assert usage == {
        "prompt_tokens": 14,
        "completion_tokens": 6,
        "total_tokens": 20,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "model_calls": 2,
        "calls_without_cost": 0,
        "reported_by": "host",
    }


async def test_a_stream_is_recorded_once(world):
    async def use():
        return [part async for part in invoke_llm_stream(world.call(messages=HELLO))]

    parts = await world.at(stream_hello, use)
    assert parts[-1]["usage"]["prompt_tokens"] == 7
    (row,) = await world.records()
    assert (row.cost_microdollars, row.outcome) == (COST, "completed")
    assert not await OpenModelCall.objects.aexists()


@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_a_stream_that_is_cut_off_is_recorded_as_such(world, how):
    begun = asyncio.Event()

    async def script(exchange):
        exchange.open_stream()
        await exchange.event(delta(content="Hi"))
        await exchange.peer_left()

    async def read():
        call = world.call(messages=HELLO)
        async with aclosing(invoke_llm_stream(call)) as chunks:
            async for _chunk in chunks:
                begun.set()
                if how == "left":
                    return

    async def use():
        task = asyncio.create_task(read())
        async with asyncio.timeout(60):
            await begun.wait()
            if how == "cancelled":
                task.cancel()
            await asyncio.wait({task})

    await world.at(script, use)
    (row,) = await world.records()
    assert (row.outcome, row.cost_missing, row.prompt_tokens) == ("cut_off", True, None)
    usage, cost = await world.totals()
    assert (usage["calls_without_cost"], cost) == (1, None)


class Gate:
    """A database that lets a call begin only when the test says so."""

    def __init__(self, database):
        self.database = database
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, function, *arguments):
        if function is begin_call:
            self.reached.set()
            await self.opened.wait()
        return await self.database(function, *arguments)


async def test_a_call_that_is_cancelled_while_it_begins_holds_nothing(world, workspace):
    await Quota.objects.acreate(
        workspace=workspace, scope="workspace", window="daily", limit_microdollars=COST
    )

    async def use():
        gate = Gate(world.database)
        call = replace(world.call(messages=HELLO), database=gate)
        task = asyncio.create_task(invoke_llm(call))
        async with asyncio.timeout(60):
            await gate.reached.wait()
            task.cancel()
            await asyncio.wait({task})
            gate.opened.set()
            await asyncio.gather(*metering._closing)

    await world.at(answer, use)
    window = await QuotaWindow.objects.aget()  # it did begin
    assert (window.settled_microdollars, window.reserved_microdollars) == (0, 0)
    assert not await OpenModelCall.objects.aexists()
    assert await world.records() == []


async def test_an_answer_is_given_although_the_database_went_away(world):
    async def use():
        call = world.call(messages=HELLO)

        async def fails_later(function, *arguments):
            if isinstance(function, partial):  # the settling
                raise OperationalError("gone")
            return await world.database(function, *arguments)

        return await invoke_llm(replace(call, database=fails_later))

    given = await world.at(answer, use)
    assert given["message"]["content"] == "Hi"
    assert await OpenModelCall.objects.acount() == 1  # for the sweep


@pytest.mark.parametrize(("status", "records"), [(401, 0), (429, 0), (200, 1)])
async def test_what_the_provider_refused_is_no_call(world, status, records):
    async def script(exchange):
        await exchange.send(status, {"error": {"message": "no"}})

    async def use():
        with pytest.raises(ProtocolError):
            await invoke_llm(world.call(messages=HELLO))

    await world.at(script, use)
    rows = await world.records()
    assert len(rows) == records  # an answer that nobody understands was paid for
    assert all(row.outcome == "failed" and row.cost_missing for row in rows)
    assert not await OpenModelCall.objects.aexists()


async def test_a_provider_without_numbers_leaves_an_estimate_and_no_cost(world):
    async def script(exchange):
        await exchange.send(200, {**completion(content="Hi"), "usage": None})

    given = await world.at(script, lambda: invoke_llm(world.call(messages=HELLO)))
    (row,) = await world.records()
    assert row.cost_missing
    assert row.estimated
    assert row.prompt_tokens == given["usage"]["prompt_tokens"] > 0


async def test_embeddings_are_recorded_and_the_wire_stays_as_it_is(world):
    async def script(exchange):
        data = [{"index": 0, "embedding": [0.5]}]
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        await exchange.send(200, {"data": data, "usage": usage})

    async def use():
        given = await invoke_embedding(world.call("embedding", texts=["Hello"]))
        nothing = await invoke_embedding(world.call("embedding", texts=[]))
        return given, nothing

    assert await world.at(script, use) == ({"vectors": [[0.5]]}, {"vectors": []})
    (row,) = await world.records()
    assert (row.kind, row.prompt_tokens, row.cost_microdollars) == ("embedding", 9, 18)


async def test_a_budget_that_ends_in_a_run_gives_a_typed_error(world, workspace):
    await Quota.objects.acreate(
        workspace=workspace, scope="workspace", window="daily", limit_microdollars=COST
    )

    async def use():
        await invoke_llm(world.call(messages=HELLO))
        with pytest.raises(ProtocolError) as caught:
            await invoke_llm(world.call(messages=HELLO))
        return caught.value

    error = await world.at(answer, use)
    assert (error.code, error.retryable) == ("quota_exceeded", False)
    assert error.details["window"] == "daily"
    resets_at = datetime.fromisoformat(error.details["resets_at"])
    assert timedelta(0) < resets_at - datetime.now(UTC) <= timedelta(days=1)
    assert len(await world.records()) == 1


def test_costs_roll_up_to_the_runs_above(agent):
    top = make_run(agent, status="running")
    middle = make_run(agent, parent=top, depth=1)
    low = make_run(agent, parent=middle, depth=2)
    for run, cost in ((low, 5), (middle, 7), (low, None)):
        UsageRecord.objects.create(
            workspace=agent.workspace,
            run_id=run.public_id,
            prompt_tokens=10,
            cost_microdollars=cost,
            cost_source="missing" if cost is None else "price",
        )
        roll_up(run.pk)
    for run, cost, calls in ((low, 5, 2), (middle, 12, 3), (top, 12, 3)):
        run.refresh_from_db()
        assert (run.cost_microdollars, run.usage["model_calls"]) == (cost, calls)
        assert run.usage["calls_without_cost"] == 1


def test_a_sub_run_spends_the_budget_of_who_began_it(agent):
    bot = uuid4()
    (asked,) = load_runs([make_run(agent, status="running", bot_id=bot).pk])
    asked.event.actor = {"id": "u1"}
    facts = freeze(asked)
    assert facts.person == f"{bot}:u1"
    AgentRun.objects.filter(pk=asked.pk).update(snapshot=facts.snapshot)
    below = make_run(agent, status="running", parent=asked, depth=1)
    assert freeze(load_runs([below.pk])[0]).person == f"{bot}:u1"


def opened_for(run, token, **fields):
    now = datetime.now(UTC)
    return OpenModelCall.objects.create(
        workspace=run.workspace,
        run_id=run.public_id,
        token=token,
        model_name="m",
        started_at=now - timedelta(minutes=5),
        expires_at=now + timedelta(hours=1),
        **fields,
    )


def test_calls_of_dead_workers_are_let_go(agent):
    alive = make_run(agent, status="running", fencing_token=3)
    adopted = make_run(agent, status="running", fencing_token=4)
    ended = make_run(agent, fencing_token=3)
    for run in (alive, adopted, ended):
        opened_for(run, 3)
    sweep_lost_calls()
    assert OpenModelCall.objects.count() == 3  # a worker may still settle its own
    OpenModelCall.objects.filter(
        expires_at__lt=datetime.now(UTC) + timedelta(minutes=1)
    ).update(expires_at=datetime.now(UTC))
    assert sweep_lost_calls() == 2
    assert OpenModelCall.objects.get().run_id == alive.public_id
    ended.refresh_from_db()
    assert ended.usage["calls_without_cost"] == 1
    assert ended.cost_microdollars is None


def test_a_notice_tells_once_that_a_budget_comes_to_its_end(
    workspace, agent, monkeypatch
):
    from agents.resources import near_end

    told = []
    monkeypatch.setattr(near_end, "notify", lambda *given: told.append(given))
    window = QuotaWindow.objects.create(
        workspace=workspace,
        scope="agent",
        subject=str(agent.pk),
        window="daily",
        starts_at=datetime.now(UTC),
        ends_at=datetime.now(UTC),
        settled_microdollars=79,
    )
    for spent, cost in ((0, 79), (79, 1), (80, 10)):
        window.settled_microdollars = spent
        near_end.warn_near_end(window, cost, 100)
    ((place, kind, key, context),) = told
    assert (place, kind, key) == (workspace.pk, "budget", f"quota-window:{window.pk}")
    assert context["percent"] == 80
    assert agent.name in context["budget"]
