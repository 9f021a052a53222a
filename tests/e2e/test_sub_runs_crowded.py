"""As many runs as their plugin has places for, and each waits for another run of it."""

import json
import time

import pytest

from tests.support import delegating_runner
from tests.support.host import RunningHost
from tests.support.sdk_runners import PATHS, PLUGIN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PARENTS = 120  # more than the places of one connection
SECONDS = 100.0  # less than one wait for a sub-run, after which all would go on anyway


@pytest.fixture(scope="module")
def crowded_host():
    variables = {"LANGBOT_RUNNERS": ",".join([*PATHS, delegating_runner.PATH])}
    with RunningHost(variables=variables) as host:
        for name in ("waiting", "delegating"):
            host.wait_runner(f"plugin:{PLUGIN}/{name}")
        policy = {"agents": ["waiter", "boss"]}
        runner = f"plugin:{PLUGIN}/delegating"
        host.make_agent("boss", runner, resource_policy=policy)
        host.make_agent("waiter", f"plugin:{PLUGIN}/waiting")
        yield host


def calls_of(depth):
    """Return what a boss is to do: ask a boss … that asks the waiter."""
    calls = [["call_agent_waiter", {"text": "0 x", "wait_seconds": 160}]]
    for _ in range(depth - 1):
        given = {"text": json.dumps(calls), "wait_seconds": 160}
        calls = [["call_agent_boss", given]]
    return json.dumps(calls)


@pytest.mark.parametrize("depth", [1, 3])
def test_runs_that_wait_leave_room_for_what_they_wait_for(crowded_host, depth):
    host = crowded_host
    host.kill("worker-1")
    runs = [host.send(calls_of(depth), "boss") for _ in range(PARENTS)]
    host.start_worker("worker-1")
    begun = time.monotonic()
    for run_id in runs:
        left = max(1.0, begun + SECONDS - time.monotonic())
        host.wait_run(run_id, "completed", timeout_seconds=left)
    for run_id in runs:
        said = json.loads(host.reply(run_id))
        for _ in range(depth - 1):
            said = json.loads(said[0]["response"])
        assert said[0]["response"] == "done x"
