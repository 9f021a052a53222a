"""Refused host calls: one counted row for each run, action and code (LB-165)."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError, close_old_connections, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.registry.connections import Registered
from runners.gateway.call_limits import CallLimits
from runners.gateway.session import PluginSession
from runners.host_api import dispatch
from runners.host_api.authorization import FILE_FRAME
from runners.host_api.refusals import RefusalCounter
from runners.ledger.refusal_counts import Refusal, add_refusals
from runners.models import AgentRun, HostCallRefusal
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Request, build_request, parse_frame
from tests.factories import WorkspaceFactory
from tests.runners.admin_rows import make_run
from tests.runners.engine.test_host_calls import plugin_of

FLOOD = 100_000
DENIED = ErrorCode.PERMISSION_DENIED
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def refused(run, count=1, at=NOW, **more):
    return Refusal(
        run.public_id, "state_get", DENIED, count, at, at, "acme/helper", **more
    )


def rows():
    return list(
        HostCallRefusal.objects.order_by("action", "code").values_list(
            "run", "action", "code", "count", "plugin"
        )
    )


@pytest.mark.django_db
def test_a_flood_is_one_statement_and_one_row(agent):
    run = make_run(agent)
    counter = RefusalCounter(100)
    for _ in range(FLOOD):
        counter.add(run.public_id, "state_get", DENIED, "acme/helper")
    with CaptureQueriesContext(connection) as queries:
        add_refusals(counter.take())
    assert len(queries) == 1
    assert rows() == [(run.pk, "state_get", DENIED, FLOOD, "acme/helper")]
    assert not counter


@pytest.mark.django_db
def test_counts_add_up_and_keep_the_first_and_the_last_time(agent):
    run = make_run(agent)
    for day in (3, 1, 7):
        add_refusals([refused(run, day, NOW + timedelta(days=day))])
    row = HostCallRefusal.objects.get()
    assert row.count == 11
    assert row.first_at == NOW + timedelta(days=1)
    assert row.last_at == NOW + timedelta(days=7)


@pytest.mark.django_db
def test_made_up_names_cost_one_row():
    counter, run_id = RefusalCounter(100), uuid4()
    for number in range(1000):
        counter.add(run_id, f"made-up-{number}", ErrorCode.ACTION_NOT_FOUND)
    (one,) = counter.take()
    assert (one.action, one.count) == ("?", 1000)


@pytest.mark.django_db
def test_made_up_runs_cost_bounded_memory_and_no_row():
    counter = RefusalCounter(100)
    for _ in range(FLOOD // 10):
        counter.add(uuid4(), "state_get", ErrorCode.RUN_NOT_ACTIVE)
    found = counter.take()
    assert len(found) == 100
    add_refusals(found)
    assert rows() == []


@pytest.mark.django_db
def test_failures_and_lookups_are_no_refusals():
    counter, run_id = RefusalCounter(100), uuid4()
    for code in ("model.error", "unavailable", "outcome_unknown", "runtime_error"):
        counter.add(run_id, Action.INVOKE_LLM, code)
    counter.add(run_id, Action.GET_PLUGIN_STORAGE, ErrorCode.NOT_FOUND)
    assert not counter
    counter.add(run_id, Action.ARTIFACT_READ, ErrorCode.NOT_FOUND)
    assert counter


@pytest.mark.django_db
def test_many_rows_of_several_sockets_are_written_together(agent):
    runs = [make_run(agent) for _ in range(3)]
    found = [refused(run) for run in runs for _ in range(400)]
    with CaptureQueriesContext(connection) as queries:
        add_refusals(found)
    assert len(queries) == 1
    assert [row[3] for row in rows()] == [400, 400, 400]


@pytest.mark.django_db
def test_a_plugin_of_another_workspace_is_counted_and_not_named(agent):
    run, other = make_run(agent), WorkspaceFactory.create()
    add_refusals([refused(run, workspace_id=other.pk)])
    assert [row[4] for row in rows()] == [""]
    add_refusals([refused(run, workspace_id=agent.workspace_id)])
    assert [row[3:] for row in rows()] == [(2, "acme/helper")]


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_the_same_rows_do_not_lose_any(agent):
    runs = [make_run(agent) for _ in range(5)]
    start = threading.Barrier(4)

    def count(order):
        start.wait()
        for _ in range(20):
            add_refusals([refused(run) for run in runs[::order]])
        close_old_connections()
        connection.close()

    threads = [threading.Thread(target=count, args=(o,)) for o in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[3] for row in rows()] == [80] * 5


@pytest.mark.django_db
def test_they_go_with_their_run(agent):
    run = make_run(agent)
    add_refusals([refused(run)])
    AgentRun.objects.filter(pk=run.pk).delete()
    assert rows() == []
    add_refusals([refused(run)])
    assert rows() == []


# Where they come from


def test_the_socket_counts_whom_it_refused():
    checks, run_id = CallLimits(), uuid4()
    caller = Registered(uuid4(), "acme/thief", "7")
    call = Request(1, "state_get", {"run_id": str(run_id)})
    error = ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "no")
    for _ in range(FLOOD // 10):
        checks.count_refusal(call, error, caller)
    nobodies: list[Any] = [None, 7, "x", [], {}]
    for nobody in nobodies:
        checks.count_refusal(Request(1, "state_get", {"run_id": nobody}), error, caller)
    (one,) = checks.refusals.take()
    assert (one.run_id, one.count) == (run_id, FLOOD // 10)
    assert (one.plugin, one.workspace_id) == ("acme/thief", 7)


def test_the_socket_lets_a_plugin_stop_its_calls_whatever_it_did(settings):
    bounds = {"plugin_calls_burst": 5, "plugin_calls_per_second": 1}
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": bounds}
    checks, codes = CallLimits(), []
    for number in range(20):
        try:
            checks.check(Request(number, "state_get", {}), 10)
        except ProtocolError as error:
            codes.append(error.code)
            assert 0 < error.details["retry_after"] <= 1
            assert error.retryable
    assert codes == ["rate_limited"] * 15
    checks.check(Request(99, Action.CANCEL_ACTION, {}), 10)
    checks.check(Request(99, Action.PING, {}), 10)


def test_slices_of_files_have_a_size_of_their_own():
    checks = CallLimits()
    checks.check(Request(1, Action.FILE_CHUNK, {}), FILE_FRAME)
    with pytest.raises(ProtocolError) as refused:
        checks.check(Request(1, Action.FILE_CHUNK, {}), FILE_FRAME + 1)
    assert refused.value.code == "too_large"


async def test_what_the_node_answers_itself_passes_the_door_too(settings):
    bounds = {"plugin_calls_burst": 5, "plugin_calls_per_second": 1}
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": bounds}
    sent: list[Any] = []
    done = asyncio.Event()

    async def send(frame):
        sent.append(parse_frame(frame.decode()))
        if len(sent) == 9:
            done.set()

    node: Any = None  # asked for nothing here
    session = PluginSession(node, send, "test", "")
    session.is_admitted = True
    for number in range(8):
        session.on_message(build_request(number, Action.FILE_CHUNK, {}).decode())
    session.on_message(build_request(8, Action.PING, {}).decode())
    async with asyncio.timeout(10):
        await done.wait()
    await session.close()
    codes = [one.error().code if one.is_error else one.data for one in sent]
    assert codes[4:] == ["invalid_request", *["rate_limited"] * 3, {"alive": True}]


@pytest.mark.django_db(transaction=True)
async def test_a_run_that_calls_too_often_is_told_when_to_come_again(agent, settings):
    bounds = {"run_calls_burst": 5, "run_calls_per_second": 1}
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": bounds}
    async with plugin_of(agent) as (plugin, run):
        asked = [await plugin.call(Action.RUN_GET) for _ in range(10)]
        assert asked[-1] == "rate_limited"
        assert asked.count("rate_limited") >= 3
        assert await plugin.call(Action.CANCEL_ACTION) == {"cancelled": False}
        await plugin.engine.host_api.flush_refusals()
    row = await HostCallRefusal.objects.aget(run=run, code="rate_limited")
    assert row.count == asked.count("rate_limited")


@pytest.mark.django_db(transaction=True)
async def test_the_worker_writes_at_the_runs_end_at_the_latest(agent):
    async with plugin_of(agent) as (plugin, run):
        for _ in range(3):
            assert await plugin.call(Action.HISTORY_PAGE) == "permission_denied"
        assert await sync_to_async(rows)() == []
        plugin.engine.close(plugin.active)
        async with asyncio.timeout(5):
            while plugin.engine._tasks:
                await asyncio.sleep(0.01)
    found = await sync_to_async(rows)()
    name = run.runner_id.removeprefix("plugin:").rpartition("/")[0]
    assert found == [(run.pk, "history_page", "permission_denied", 3, name)]


@pytest.mark.django_db(transaction=True)
async def test_counts_outlive_a_database_that_is_away(agent, monkeypatch):
    def fail(_refusals):
        raise OperationalError("away")

    async with plugin_of(agent) as (plugin, _run):
        host_api = plugin.engine.host_api
        with monkeypatch.context() as patch:
            patch.setattr(dispatch, "add_refusals", fail)
            await plugin.call(Action.HISTORY_PAGE)
            await host_api.flush_refusals()
            await plugin.call(Action.HISTORY_PAGE)
        await host_api.flush_refusals()
    assert [row[3] for row in await sync_to_async(rows)()] == [2]


@pytest.mark.django_db(transaction=True)
async def test_a_granted_call_counts_nothing(agent):
    async with plugin_of(agent) as (plugin, _run):
        await plugin.set_state(1)
        assert not plugin.engine.host_api._refusals


# Where they are shown


@pytest.mark.django_db
def test_the_page_of_a_run_shows_them(agent, client):
    run = make_run(agent)
    client.force_login(get_user_model().objects.create_superuser("root"))
    page = reverse("admin:langbot_runners_agentrun_change", args=[run.pk])
    assert "Refused calls</h2>" not in client.get(page).content.decode()
    add_refusals([refused(run, 12_345)])
    add_refusals([refused(run, workspace_id=0)])
    text = client.get(page).content.decode()
    assert "Refused calls</h2>" in text
    for word in ("state_get", "permission_denied", "a plugin of another workspace"):
        assert word in text
    found = client.get(reverse("admin:langbot_runners_hostcallrefusal_changelist"))
    assert "permission_denied" in found.content.decode()
