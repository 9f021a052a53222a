"""A run waits too long for a person while another of its tools is at work."""

import json
import random

import pytest

from runners.actions import Decider, Decision, resolve_action
from runners.models import AgentRun, HostCall, PendingAction
from runners.public import start_run
from tests.factories import AgentFactory
from tests.support import counting_tool
from tests.support.cluster import Cluster, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RUNS = 60
WAIT_SECONDS = 0.5
BOSS = Decider(name="boss")


@pytest.fixture
def cluster(process_environment, tmp_path):
    variables = {
        "TEST_APPS": counting_tool.APP,
        counting_tool.MARKS: str(tmp_path / "marks"),
        "TEST_LIMITS": json.dumps({"approval_wait_seconds": WAIT_SECONDS}),
    }
    with Cluster(process_environment | variables) as cluster:
        cluster.start(webs=1, workers=2, plugins=2)
        yield cluster


def send_all(workspace):
    """Start runs whose slow tool ends before, while and after the wait is over."""
    agent = AgentFactory.create(
        workspace=workspace,
        runner_id="plugin:tests/load/both",
        resource_policy={"tools": [counting_tool.NAME, counting_tool.SLOW]},
        approval_policy={"enabled": True, "allow": [counting_tool.SLOW]},
    )
    for number in range(1, RUNS + 1):
        seconds = random.uniform(0, 4 * WAIT_SECONDS)  # noqa: S311  any does
        start_run(agent, f"{number} {seconds:.3f} {('each', 'all')[number % 2]}")


def test_a_tool_at_work_is_neither_lost_nor_made_again(cluster, workspace, tmp_path):
    send_all(workspace)
    asked = PendingAction.objects.filter(parked=True)
    wait_until(lambda: asked.count() == RUNS, "all are paused", 90)
    assert not HostCall.objects.filter(action="call_tool", status="started").exists()
    for key in asked.values_list("public_id", flat=True):
        resolve_action(key, Decision(decision="approve"), BOSS)
    open_runs = AgentRun.objects.live()
    wait_until(lambda: not open_runs.exists(), "all have ended", 90)
    done = counting_tool.executions(tmp_path / "marks")
    assert set(done.values()) == {1}
    assert len(done) == 2 * RUNS
    for run in AgentRun.objects.all():
        check_history(run)


def check_history(run):
    """The model that goes on reads each call once, with what it answered."""
    assert (run.status, run.invocation) == ("completed", 2)
    answers = run.transcript.filter(item_type="tool_result").order_by("seq")
    calls = run.transcript.filter(item_type="tool_call").order_by("seq")
    given = {
        row.content["tool_call_id"]: json.loads(row.content["content"])
        for row in answers
    }
    assert given.keys() == {"id_count", "id_count_slowly"}
    assert len(answers) == len(calls) == 2
    assert given["id_count"]["number"] == -given["id_count_slowly"]["number"]
    kinds = list(run.events.order_by("seq").values_list("type", flat=True))
    assert kinds.count("tool.call.completed") == 2
    assert kinds.count("run.paused") == kinds.count("run.resumed") == 1
    assert len(kinds) == run.last_seq
