"""A web process that dies takes its sockets with it, and nothing else."""

import time

import pytest

from runners.choices import EventType
from runners.models import AgentRun, RunEvent
from tests.support.load import Load, broken_ledgers, wait_for_status

RUNS = 60

pytestmark = [pytest.mark.timeout(300)]


def test_runs_of_a_killed_web_fail_within_ten_seconds(cluster, waiting_agent, record):
    cluster.start(plugins=4)
    load = Load()
    for number in range(RUNS):
        load.send(waiting_agent, f"25 {number}", f"done {number}")
    wait_for_status(load, ["running"], 60)
    lost = list(_lost_with(_nodes(load)[0], load))
    cluster.webs[_web_of(cluster, _nodes(load)[0])].kill()
    killed = time.monotonic()
    load.wait(90)
    record("all ended after", time.monotonic() - killed)
