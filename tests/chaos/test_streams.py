"""Streaming runs while workers are killed: nothing is lost, nothing comes twice."""
# ruff: noqa: S311 - random times, no secrets

import random
import time

import pytest

from agents.choices import ProviderKind
from agents.resources.models import Model, ModelProvider
from runners.models import AgentRun
from tests.factories import AgentFactory
from tests.support.load import Load, broken_ledgers, text_of_deltas, wait_for_status
from tests.support.sdk_runners import streamed_text

RUNS = 50
KILLS = 4

pytestmark = [pytest.mark.timeout(300)]


def kill_workers(cluster, load, times=KILLS):
    """Kill a random worker, start another one, and again while runs go on."""
    for _ in range(times):
        time.sleep(random.uniform(1, 3))
        alive = [worker for worker in cluster.workers if worker.is_running]
        random.choice(alive).kill()
        cluster.start_worker()


def test_streams_survive_killed_workers(cluster, streaming_agent, record):
    cluster.start(plugins=2)
    load = Load()
    for number in range(RUNS):
        text = f"400 {random.uniform(8, 16):.1f} 10 w{number}"
        load.send(streaming_agent, text, streamed_text(text))
    kill_workers(cluster, load)
    record("all ended after", load.wait(120))
    record("adopted", load.adopted())
    assert load.statuses() == {"completed": RUNS}
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []
    for run in AgentRun.objects.filter(pk__in=load.ids):
        assert text_of_deltas(run) == load.expected[run.pk]
    assert load.adopted() > 0


@pytest.fixture
def thinking_agent(workspace):
    provider = ModelProvider.objects.create(
        workspace=workspace, name="Demo", kind=ProviderKind.DEMO
    )
    model = Model.objects.create(provider=provider, name="demo")
    return AgentFactory(
        workspace=workspace,
        runner_id="plugin:tests/load/thinking",
        resource_policy={"models": [str(model.public_id)]},
    )


def test_model_streams_are_whole_or_end_with_an_error(cluster, thinking_agent, record):
    cluster.start(plugins=2)
    load = Load()
    for number in range(20):
        load.send(thinking_agent, f"10 word{number}", "")
    wait_for_status(load, ["running", "completed"], 60)
    kill_workers(cluster, load, times=3)
    load.wait(120)
    assert load.statuses() == {"completed": 20}
    answers = [said for _, said in load.wrong_answers()]
    counts = [dict(part.split("=") for part in said.split()) for said in answers]
    total = {key: sum(int(count[key]) for count in counts) for key in counts[0]}
    record("streams", total)
    assert total["wrong"] == 0
    assert total["whole"] + total["broken"] == 200
    assert total["broken"] > 0
    assert broken_ledgers(load.ids) == []
