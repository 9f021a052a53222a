"""A web process that dies takes its sockets with it, and nothing else."""

from datetime import UTC, datetime

import pytest

from runners.models import AgentRun
from tests.support.load import Load, broken_ledgers, wait_for_status

RUNS = 60

pytestmark = [pytest.mark.timeout(300)]


def seconds_after(moment, run):
    return (run.finished_at - moment).total_seconds()


def test_runs_of_a_killed_web_fail_within_ten_seconds(cluster, waiting_agent, record):
    cluster.start(plugins=4)
    load = Load()
    for number in range(RUNS):
        load.send(waiting_agent, f"25 {number}", f"done {number}")
    wait_for_status(load, ["running"], 20)
    cluster.webs[0].kill()
    killed = datetime.now(UTC)
    load.wait(90)
    runs = AgentRun.objects.filter(pk__in=load.ids)
    failed = list(runs.filter(status="failed"))
    took = [seconds_after(killed, run) for run in failed]
    record("failed", len(failed))
    record("the last of them after", max(took))
    assert {run.error_code for run in failed} == {"connection_lost"}
    assert all(run.retryable for run in failed)
    dead = {run.web_node for run in failed}
    assert len(dead) == 1
    assert runs.filter(web_node__in=dead).count() == len(failed)
    assert load.statuses()["completed"] == RUNS - len(failed) > 0
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []
    assert max(took) <= 10


def test_a_killed_plugin_process_fails_its_own_runs_at_once(
    cluster, waiting_agent, record
):
    cluster.start(webs=1, workers=1, plugins=2)
    load = Load()
    for number in range(40):
        load.send(waiting_agent, f"8 {number}", f"done {number}")
    wait_for_status(load, ["running", "completed"], 60)
    cluster.plugins[0].kill()
    killed = datetime.now(UTC)
    load.wait(60)
    failed = AgentRun.objects.filter(pk__in=load.ids, status="failed")
    took = max(seconds_after(killed, run) for run in failed)
    record("failed after", took)
    assert load.statuses() == {"failed connection_lost": 20, "completed": 20}
    assert broken_ledgers(load.ids) == []
    assert took < 3
