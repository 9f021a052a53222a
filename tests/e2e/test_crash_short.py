"""Processes die while runs are under way; the short form of tests/chaos."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from agents.models import PluginConnection
from langbot.valkey import Valkey
from runners.choices import RunStatus
from runners.engine.snapshot import freeze, load_runs
from runners.ledger.claims import Claim, claim_runs
from runners.models import AgentRun, WorkerNode
from tests.factories import AgentFactory
from tests.support.cluster import Cluster
from tests.support.load import Load, broken_ledgers, text_of_deltas, wait_for_status
from tests.support.sdk_runners import streamed_text

RUNS = 16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def redis_server():
    """A Redis of the test's own; killing it hurts nobody else."""
    with Valkey() as server:
        yield server


@pytest.fixture
def cluster(process_environment, redis_server):
    variables = process_environment | {"REDIS_URL": redis_server.url}
    with Cluster(variables) as processes:
        yield processes


@pytest.fixture
def agent(workspace):
    return AgentFactory(workspace=workspace, runner_id="plugin:tests/load/streaming")


def send_streams(agent):
    load = Load()
    for number in range(RUNS):
        text = f"100 {5 + number % 4} 5 w{number}"
        load.send(agent, text, streamed_text(text))
    wait_for_status(load, ["running", "completed"], 60)
    return load


def check_all_whole(load):
    assert load.statuses() == {"completed": RUNS}
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []
    for run in AgentRun.objects.filter(pk__in=load.ids):
        assert text_of_deltas(run) == load.expected[run.pk]


def test_runs_survive_killed_and_stopped_workers(cluster, agent):
    cluster.start(webs=1, workers=2, plugins=1)
    load = send_streams(agent)
    cluster.workers[0].kill()
    cluster.start_worker()
    wait_for_status(load, ["running", "completed"], 60)
    time.sleep(1)
    assert cluster.workers[1].terminate() < 10
    load.wait(60)
    assert load.adopted() > 0
    check_all_whole(load)


def test_runs_survive_a_restart_of_redis_and_a_lost_claim(cluster, agent, redis_server):
    cluster.start(webs=1, workers=1, plugins=1)
    forgotten = send_forgotten(agent)
    load = send_streams(agent)
    redis_server.process.kill()
    redis_server.process.wait()
    time.sleep(1)
    redis_server.start()
    load.wait(60)
    check_all_whole(load)
    forgotten.wait(30)
    assert forgotten.statuses() == {"completed": 1}
    assert forgotten.wrong_answers() == []
    assert forgotten.adopted() == 1


def test_a_killed_web_fails_its_runs_as_connection_lost(cluster, agent):
    cluster.start(webs=2, workers=1, plugins=2)
    load = Load()
    for number in range(RUNS):
        text = f"20 11 0 w{number}"
        load.send(agent, text, streamed_text(text))
    wait_for_status(load, [RunStatus.RUNNING], 10)
    cluster.webs[0].kill()
    killed = time.monotonic()
    failed = AgentRun.objects.filter(pk__in=load.ids, status=RunStatus.FAILED)
    while failed.count() < RUNS // 2:
        assert time.monotonic() - killed < 10, load.statuses()
        time.sleep(0.1)
    load.wait(60)
    assert set(failed.values_list("error_code", flat=True)) == {"connection_lost"}
    half = RUNS // 2
    assert load.statuses() == {"failed connection_lost": half, "completed": half}
    assert broken_ledgers(load.ids) == []


def send_forgotten(agent):
    """Leave a run as after a claim whose answer was lost with the connection."""
    load, text = Load(), "10 1 2 word"
    with transaction.atomic():
        run = load.send(agent, text, streamed_text(text))
        claim_behind_its_back(run)
    return load


def claim_behind_its_back(run):
    """Commit a claim of the only worker, which is not told."""
    connection = PluginConnection.objects.get()
    claim = Claim(
        run.pk,
        connection.public_id,
        connection.web_node,
        run.runner_id,
        datetime.now(UTC) + timedelta(seconds=60),
        freeze(load_runs([run.pk])[0]).snapshot,
        run.invocation,
    )
    assert claim_runs(WorkerNode.objects.get().public_id, [claim])
