"""Who holds a run, and until when; over sockets: tests/runners/gateway."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connections
from django.db.models.functions import Now

from agents.models import PluginConnection, PluginToken
from agents.registry.tokens import create_plugin_token
from runners.choices import RunStatus
from runners.ledger.claims import adoptable_runs
from runners.ledger.turns import dispatch_of
from runners.models import AgentRun, RemoteRuntime, RunEvent, TranscriptItem
from runners.protocol.errors import ProtocolError
from runners.runtimes import leases, registry, stats
from runners.runtimes.callers import caller_of
from runners.runtimes.claim_tokens import claim_token
from runners.runtimes.results import Target, append_result, finalize
from tests.factories import AgentFactory, WorkspaceFactory
from tests.runners.admin_rows import make_run

SECOND_AGO = Now() - timedelta(seconds=1)


@pytest.fixture
def caller(workspace):
    token, _ = create_plugin_token("remote", workspace=workspace, control_plane=True)
    connection = PluginConnection.objects.create(
        token=token, workspace=workspace, plugin="acme/remote", status="online"
    )
    return caller_of(connection.public_id, "acme/remote")


@pytest.fixture
def runtime(caller):
    return registry.register(caller, "one", {}, None)


@pytest.fixture
def waiting(agent):
    def make(**fields):
        return make_run(agent, status=RunStatus.QUEUED, **fields)

    return make


def claim(caller, runtime, seconds=60):
    found = leases.claim_next(caller, runtime, seconds)
    return None if found is None else AgentRun.objects.get(pk=found[0].pk)


def say(caller, run, text, **more):
    chunk = {"role": "assistant", "content": text}
    raw = {"type": "message.delta", "data": {"chunk": chunk}, **more}
    return append_result(Target(caller, str(run.public_id)), raw)


def code_of(call, *arguments):
    with pytest.raises(ProtocolError) as caught:
        call(*arguments)
    return caught.value.code


def test_taking_the_right_away_works_at_once(caller):
    PluginToken.objects.filter(pk=caller.token_id).update(control_plane=False)
    call = (caller_of, caller.connection_id, caller.plugin)
    assert code_of(*call) == "permission_denied"
    PluginToken.objects.filter(pk=caller.token_id).update(
        control_plane=True, revoked_at=datetime.now(UTC)
    )
    assert code_of(*call) == "permission_denied"


def test_nobody_adopts_a_run_while_its_lease_lasts(caller, runtime, waiting):
    waiting()
    run = claim(caller, runtime)
    assert (run.node, run.dispatch_attempts) == (runtime.public_id, 1)
    assert adoptable_runs(10) == []
    assert leases.sweep() == 0
    AgentRun.objects.update(claim_lease_expires_at=SECOND_AGO)
    assert adoptable_runs(10) == []
    assert leases.sweep() == 1
    run.refresh_from_db()
    assert (run.status, run.node, run.invocation) == ("queued", None, 2)


def test_a_lease_that_is_over_is_neither_renewed_nor_written_under(
    caller, runtime, waiting
):
    waiting()
    run = claim(caller, runtime)
    held = leases.holding(caller, run, claim_token(run))
    assert leases.renew(caller, held, 60)
    AgentRun.objects.update(claim_lease_expires_at=SECOND_AGO)
    assert not leases.renew(caller, held, 60)
    assert code_of(say, caller, run, "late") == "conflict"
    target = Target(caller, str(run.public_id))
    assert code_of(finalize, target, "completed", "") == "conflict"


def test_a_run_whose_holders_fall_silent_again_and_again_ends(caller, runtime, waiting):
    run = waiting()
    for _dispatch in range(leases.MOST_DISPATCHES):
        assert claim(caller, runtime) is not None
        say(caller, run, "half of it")
        AgentRun.objects.update(claim_lease_expires_at=SECOND_AGO)
        leases.sweep()
    run.refresh_from_db()
    assert (run.status, run.error_code, run.retryable) == ("failed", "host_lost", True)
    (reply,) = TranscriptItem.objects.filter(run=run, role="assistant")
    assert reply.text == "half of it"
    numbers = RunEvent.objects.filter(run=run).order_by("seq").values_list("seq")
    assert [seq for (seq,) in numbers] == list(range(1, len(numbers) + 1))


def test_another_connection_writes_only_with_the_claims_token(
    caller, runtime, waiting, workspace
):
    waiting()
    run = claim(caller, runtime)
    token = PluginToken.objects.get(pk=caller.token_id)
    again = PluginConnection.objects.create(
        token=token, workspace=workspace, plugin="acme/remote", status="online"
    )
    returned = caller_of(again.public_id, "acme/remote")
    assert code_of(say, returned, run, "no token") == "conflict"
    held = leases.holding(returned, run, claim_token(run))
    assert leases.renew(returned, held, 60)
    assert say(returned, run, "renewed").type == "message.delta"
    assert code_of(say, caller, run, "the old socket") == "conflict"


@pytest.mark.parametrize("token", ["", "x", "-1", "9" * 30, "²", "0", "²-0", "1-", "-"])
def test_odd_claim_tokens_hold_nothing(caller, runtime, waiting, token):
    waiting()
    run = claim(caller, runtime)
    assert not leases.holding(caller, run, token).exists()


def test_results_without_numbers_get_the_next_one(caller, runtime, waiting):
    waiting()
    run = claim(caller, runtime)
    first = say(caller, run, "one", sequence=1)
    assert say(caller, run, "two").runner_sequence == 2
    assert (
        say(caller, run, "one", sequence=1).pk
        == RunEvent.objects.get(run=run, seq=first.seq).pk
    )
    texts = [event.data["text"] for event in run.events.filter(type="message.delta")]
    assert texts == ["one", "two"]


@pytest.mark.django_db(transaction=True)
def test_many_writers_of_one_run_leave_no_gap(caller, runtime, waiting):
    waiting()
    run = claim(caller, runtime)

    def write(name):
        try:
            for number in range(5):
                say(caller, run, f"{name}{number} ")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, "abcd"))
    finalize(Target(caller, str(run.public_id)), "completed", "")
    events = list(run.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    texts = "".join(e.data["text"] for e in events if e.type == "message.delta")
    assert sorted(texts.split()) == sorted(f"{n}{i}" for n in "abcd" for i in range(5))
    assert TranscriptItem.objects.get(run=run, role="assistant").text == texts


def wait_since(run, **ago):
    queued_at = datetime.now(UTC) - timedelta(**ago)
    AgentRun.objects.filter(pk=run.pk).update(queued_at=queued_at)


def test_a_run_waits_for_a_runtime_that_is_there(caller, runtime, waiting):
    run = waiting(queue_name="gpu")
    wait_since(run, minutes=10)
    assert leases.sweep() == 0
    RemoteRuntime.objects.update(heartbeat_deadline_at=SECOND_AGO)
    young = waiting(queue_name="gpu")
    assert leases.sweep() == 1
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("failed", "runner.unavailable")
    assert run.retryable
    young.refresh_from_db()
    assert young.status == "queued"


def test_a_run_waits_an_hour_at_most_and_for_no_foreign_runtime(
    caller, runtime, waiting
):
    run = waiting(queue_name="gpu")
    wait_since(run, minutes=61)
    assert leases.sweep() == 1
    foreign = AgentFactory(workspace=WorkspaceFactory(slug="abroad"))
    wait_since(make_run(foreign, status=RunStatus.QUEUED, queue_name="gpu"), minutes=2)
    assert leases.sweep() == 1


def test_one_unreadable_run_does_not_keep_the_others_from_being_taken_back(
    caller, runtime, waiting
):
    for _ in range(2):
        waiting()
        assert claim(caller, runtime) is not None
    broken = AgentRun.objects.earliest("pk")
    AgentRun.objects.filter(pk=broken.pk).update(snapshot={"access": 7})
    AgentRun.objects.update(
        claim_lease_expires_at=SECOND_AGO, dispatch_attempts=leases.MOST_DISPATCHES
    )
    assert leases.sweep() == 2
    codes = AgentRun.objects.values_list("error_code", flat=True)
    assert list(codes) == ["host_lost", "host_lost"]


def test_a_late_run_that_cannot_be_read_ends(caller, runtime, waiting):
    waiting()
    claim(caller, runtime)
    AgentRun.objects.update(
        snapshot={"access": 7}, deadline_at=datetime.now(UTC) - timedelta(hours=1)
    )
    assert leases.sweep() == 1
    assert AgentRun.objects.get().status == "timeout"


def test_nobody_claims_a_run_between_its_last_holder_and_its_end(
    caller, runtime, waiting, monkeypatch
):
    run = waiting()
    claim(caller, runtime)
    AgentRun.objects.update(
        claim_lease_expires_at=SECOND_AGO, dispatch_attempts=leases.MOST_DISPATCHES
    )
    others = []
    monkeypatch.setattr(
        leases, "publish", lambda *_: others.append(claim(caller, runtime))
    )
    assert leases.sweep() == 1
    run.refresh_from_db()
    assert (run.status, run.dispatch_attempts) == ("failed", leases.MOST_DISPATCHES)
    assert others == [None]


def test_a_claim_renewed_meanwhile_is_not_ended(caller, runtime, waiting, monkeypatch):
    waiting()
    run = claim(caller, runtime)
    AgentRun.objects.update(
        claim_lease_expires_at=SECOND_AGO, dispatch_attempts=leases.MOST_DISPATCHES
    )
    seen = leases._lapsed()
    AgentRun.objects.update(claim_lease_expires_at=Now() + timedelta(minutes=1))
    monkeypatch.setattr(leases, "_lapsed", lambda: seen)
    assert leases.sweep() == 0
    run.refresh_from_db()
    assert run.status == "running"


def test_a_claims_token_cannot_be_guessed(caller, runtime, waiting, workspace):
    waiting()
    waiting()
    run, other = claim(caller, runtime), claim(caller, runtime)
    token, _ = create_plugin_token("second", workspace=workspace, control_plane=True)
    connection = PluginConnection.objects.create(
        token=token, workspace=workspace, plugin="acme/second", status="online"
    )
    second = caller_of(connection.public_id, "acme/second")
    given = claim_token(run)
    assert leases.holding(second, run, given).exists()
    assert len({given, claim_token(other)}) == 2
    altered = given[:-1] + ("0" if given[-1] != "0" else "1")
    for guess in ("1", altered, claim_token(other), given.upper(), given + "x"):
        assert not leases.holding(second, run, guess).exists()


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, {}),
        ([], {}),
        ({"queue_name": "gpu"}, {"queue_name": "gpu"}),
        ({"queue_name": "default"}, {"queue_name": ""}),
        ({"queue_name": "x" * 51, "priority": "high"}, {}),
        ({"queue_name": 7, "priority": True}, {}),
        ({"priority": 10**9}, {"priority": 100}),
        ({"priority": -7}, {"priority": -7}),
    ],
)
def test_where_a_run_waits_is_said_by_its_sender(metadata, expected):
    assert dispatch_of(metadata) == expected


def test_runtimes_silent_for_long_are_forgotten(caller, runtime, waiting):
    registry.register(caller, "two", {}, None)
    waiting()
    claim(caller, runtime)
    RemoteRuntime.objects.update(heartbeat_deadline_at=Now() - timedelta(days=31))
    assert registry.purge_gone() == 1
    assert RemoteRuntime.objects.get() == runtime  # it still holds a run


def test_registering_again_renews_the_same_row(caller, runtime):
    again = registry.register(
        caller, "one", {"display_name": "One", "labels": {"a": "b"}}, None
    )
    assert again.pk == runtime.pk
    beat = registry.heartbeat(caller, "one", {"labels": None}, None)
    assert (beat.display_name, beat.labels) == ("One", {"a": "b"})
    late = registry.register(caller, "one", {}, 1e308)
    ahead = late.heartbeat_deadline_at - late.heartbeat_at
    assert ahead <= timedelta(seconds=registry.LONGEST_HEARTBEAT_SECONDS + 1)


def test_reconciling_takes_what_silent_runtimes_hold(caller, runtime, waiting):
    run = waiting()
    claim(caller, runtime)
    assert leases.reconcile(caller, None) == ([], 0)
    RemoteRuntime.objects.update(heartbeat_at=Now() - timedelta(minutes=5))
    assert leases.reconcile(caller, 60) == (["one"], 1)
    run.refresh_from_db()
    assert run.status == "queued"


def test_numbers_of_a_window(caller, agent, waiting):
    now = datetime.now(UTC)
    for seconds in (1, 2, 3, 4):
        run = make_run(agent)
        AgentRun.objects.filter(pk=run.pk).update(
            finished_at=run.started_at + timedelta(seconds=seconds)
        )
    make_run(agent, status=RunStatus.FAILED)
    waiting()
    window = stats.Window.of(None, int(now.timestamp()) + 60)
    found = stats.run_stats(caller, window, None)
    assert (found["total_count"], found["completed_count"]) == (6, 4)
    assert (found["queued_count"], found["failed_count"]) == (1, 1)
    assert found["success_rate"] == 0.8
    assert found["p50_duration_seconds"] == 2
    assert found["p99_duration_seconds"] == 4
    assert found["avg_duration_seconds"] == 2.5
    (row,) = stats.runner_stats(caller, window, 50)["items"]
    assert (row["runner_id"], row["total_runs"]) == (agent.runner_id, 6)
    assert (row["active_runs"], row["avg_duration_seconds"]) == (1, 2.5)
    before = stats.Window.of(0, 1000)
    assert stats.run_stats(caller, before, None)["total_count"] == 0


def test_runs_of_other_workspaces_do_not_exist(caller, runtime):
    foreign = AgentFactory(workspace=WorkspaceFactory(slug="abroad"))
    run = make_run(foreign, status=RunStatus.QUEUED)
    assert claim(caller, runtime) is None
    assert code_of(caller.run, str(run.public_id)) == "not_found"
    assert code_of(caller.run, str(uuid4())) == "not_found"
    assert code_of(caller.runtime, "unknown") == "not_found"
