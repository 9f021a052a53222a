"""50 people decide about 200 tool calls of paused runs while workers are killed."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runners.models import AgentRun, PendingAction
from runners.public import start_run
from tests.factories import AgentFactory
from tests.support import counting_tool
from tests.support.approvers import decide_all
from tests.support.cluster import Cluster, wait_until

pytestmark = pytest.mark.timeout(1200)

APPROVERS, ACTIONS, KILLS = 50, 200, 4


def test_each_tool_call_has_one_winner_and_runs_at_most_once(
    process_environment, workspace, tmp_path
):
    marks = tmp_path / "marks"
    variables = {
        "TEST_APPS": counting_tool.APP,
        counting_tool.MARKS: str(marks),
        "TEST_LIMITS": json.dumps({"approval_wait_seconds": 0.5}),
    }
    agent = AgentFactory.create(
        workspace=workspace,
        runner_id="plugin:tests/load/asking",
        resource_policy={"tools": [counting_tool.NAME]},
        approval_policy={"enabled": True},
    )
    with Cluster(process_environment | variables) as cluster:
        cluster.start(webs=1, workers=2, plugins=3)
        for number in range(ACTIONS):
            start_run(agent, str(number))
        parked = AgentRun.objects.filter(status="requires_action")
        wait_until(lambda: parked.count() == ACTIONS, "all are paused", 300)
        actions = list(PendingAction.objects.values_list("public_id", flat=True))
        with ThreadPoolExecutor(1) as crowd:
            deciding = crowd.submit(decide_all, actions, APPROVERS)
            kill_workers(cluster)  # a process ends with the thread that started it
            outcomes = deciding.result()
        live = AgentRun.objects.live()
        wait_until(lambda: not live.exists(), "all have ended", 300)
    for action in PendingAction.objects.all():
        won, lost = outcomes[action.public_id]
        assert won == [action.decided_by_name]
        assert lost == won * (APPROVERS - 1)
    check_runs(marks)


def kill_workers(cluster):
    """Kill one worker after the other; another takes its place at once."""
    for _ in range(KILLS):
        threading.Event().wait(random.uniform(1, 4))  # noqa: S311  any time does
        victim = next(worker for worker in cluster.workers if worker.is_running)
        victim.kill()
        cluster.start_worker()


def check_runs(marks):
    done = counting_tool.executions(marks)
    for run in AgentRun.objects.all():
        action = run.pending_actions.get()
        times = sum(n for line, n in done.items() if str(run.public_id) in line)
        unknown = "error" in action.answer
        assert run.status == "completed"
        assert times == 1 or (times == 0 and unknown)
        if unknown:
            assert action.answer["error"]["code"] == "outcome_unknown"
        kinds = list(run.events.order_by("seq").values_list("type", flat=True))
        assert kinds.count("action.resolved") == kinds.count("run.paused") == 1
        assert kinds.count("run.completed") == 1
        assert len(kinds) == run.last_seq
