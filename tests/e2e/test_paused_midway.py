"""A run waits too long for a person while another of its tools is at work."""

import json
import random
from contextlib import ExitStack

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
LONG_WAIT_SECONDS = 10  # until a dead worker is noticed, and a bit
BOSS = Decider(name="boss")


@pytest.fixture
def start(process_environment, tmp_path):
    """Start a cluster where a call waits for a person for so many seconds."""
    variables = {
        "TEST_APPS": counting_tool.APP,
        counting_tool.MARKS: str(tmp_path / "marks"),
    }
    with ExitStack() as stack:

        def start(seconds):
            limits = {"TEST_LIMITS": json.dumps({"approval_wait_seconds": seconds})}
            cluster = Cluster(process_environment | variables | limits)
            stack.enter_context(cluster)
            cluster.start(webs=1, workers=2, plugins=2)
            return cluster

        yield start


def send_all(workspace, count, seconds, modes):
    """Start runs whose slow tools take up to so long."""
    agent = AgentFactory.create(
        workspace=workspace,
        runner_id="plugin:tests/load/both",
        resource_policy={"tools": [counting_tool.NAME, counting_tool.SLOW]},
        approval_policy={"enabled": True, "allow": [counting_tool.SLOW]},
    )
    for number in range(1, count + 1):
        takes = random.uniform(0, seconds)  # noqa: S311  any does
        start_run(agent, f"{number} {takes:.3f} {modes[number % len(modes)]}")


def approve_all():
    for key in PendingAction.objects.values_list("public_id", flat=True):
        resolve_action(key, Decision(decision="approve"), BOSS)
    open_runs = AgentRun.objects.live()
    wait_until(lambda: not open_runs.exists(), "all have ended", 90)


def test_a_tool_at_work_is_neither_lost_nor_made_again(start, workspace, tmp_path):
    start(WAIT_SECONDS)
    # They end before, while and after the wait is over.
    send_all(workspace, RUNS, 4 * WAIT_SECONDS, ("each", "all"))
    asked = PendingAction.objects.filter(parked=True)
    wait_until(lambda: asked.count() == RUNS, "all are paused", 90)
    assert not HostCall.objects.filter(action="call_tool", status="started").exists()
    approve_all()
    done = counting_tool.executions(tmp_path / "marks")
    assert set(done.values()) == {1}
    assert len(done) == 2 * RUNS
    for run in AgentRun.objects.all():
        given = check_history(run)
        assert given["id_count"]["number"] == -given["id_count_slowly"]["number"]


def test_what_a_killed_worker_had_begun_is_told(start, workspace, tmp_path):
    """The runner never told of a call; its worker is dead; the run is paused then."""
    cluster, count = start(LONG_WAIT_SECONDS), 20
    send_all(workspace, count, 6.0, ("all", "late"))
    answered = HostCall.objects.filter(action="call_tool", status="answered")
    wait_until(lambda: answered.count() >= count // 2, "half have answered", 30)
    known = set(answered.values_list("run", flat=True))
    cluster.workers[0].kill()
    asked = PendingAction.objects.filter(parked=True)
    wait_until(lambda: asked.count() == count, "all are paused", 90)
    adopted = AgentRun.objects.filter(events__type="run.adopted")
    lost = HostCall.objects.filter(action="call_tool", status="started")
    assert known & set(adopted.values_list("pk", flat=True))
    assert lost.exists()  # in the middle of which the worker died
    approve_all()
    done = counting_tool.executions(tmp_path / "marks")
    assert set(done.values()) == {1}
    for run in AgentRun.objects.all():
        slow = check_history(run)["id_count_slowly"]
        was_lost = lost.filter(run=run).exists()
        assert ("outcome_unknown" in slow.get("error", "")) == was_lost
        assert ("number" in slow) != was_lost


def check_history(run):
    """The model that goes on reads each call once; returns what they answered."""
    assert (run.status, run.invocation) == ("completed", 2)
    answers = run.transcript.filter(item_type="tool_result").order_by("seq")
    calls = run.transcript.filter(item_type="tool_call").order_by("seq")
    given = {
        row.content["tool_call_id"]: json.loads(row.content["content"])
        for row in answers
    }
    assert given.keys() == {"id_count", "id_count_slowly"}
    assert len(answers) == len(calls) == 2
    kinds = list(run.events.order_by("seq").values_list("type", flat=True))
    assert kinds.count("tool.call.completed") == 2
    assert kinds.count("run.paused") == kinds.count("run.resumed") == 1
    assert len(kinds) == run.last_seq
    return given
