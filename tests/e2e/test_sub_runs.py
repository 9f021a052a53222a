"""Agents that ask agents: real processes, a worker that has room for one run."""

import json

import pytest

from tests.support import delegating_runner
from tests.support.host import RunningHost
from tests.support.sdk_runners import PATHS, PLUGIN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PLACES = f"plugin:{PLUGIN}"
AGENTS = {"resource_policy": {"agents": ["waiter", "boss"]}}


@pytest.fixture(scope="module")
def small_host():
    """One worker with room for one run; sub-runs need none."""
    variables = {
        "TEST_LIMITS": json.dumps({"worker_runs": 1}),
        "LANGBOT_RUNNERS": ",".join([*PATHS, delegating_runner.PATH]),
    }
    with RunningHost(variables=variables) as host:
        for name in ("waiting", "delegating"):
            host.wait_runner(f"{PLACES}/{name}")
        host.make_agent("waiter", f"{PLACES}/waiting")
        host.make_agent("boss", f"{PLACES}/delegating", **AGENTS)
        yield host


def delegate(host, *calls):
    return host.send(json.dumps(calls), "boss")


def ask(text, **more):
    return ["call_agent_waiter", {"text": text, **more}]


def children(host, run_id):
    return host.api("GET", "runs/", params={"parent": run_id})["results"]


def answers(host, run_id):
    return json.loads(host.reply(run_id))


def test_a_waiting_run_never_keeps_out_what_it_waits_for(small_host):
    run_id = delegate(small_host, ask("0.2 one"), ask("0 two"))
    assert small_host.wait_run(run_id)["status"] == "completed"
    first, second = answers(small_host, run_id)
    assert (first["status"], first["response"]) == ("completed", "done one")
    assert second["response"] == "done two"
    found = children(small_host, run_id)
    assert {one["id"] for one in found} == {first["run_id"], second["run_id"]}
    assert {one["depth"] for one in found} == {1}


def test_a_run_may_come_back_for_the_answer(small_host):
    later = ["sub_run_result", {"sub_run_id": "$id", "wait_seconds": 60}]
    run_id = delegate(small_host, ask("1 late", wait_seconds=0), later)
    assert small_host.wait_run(run_id)["status"] == "completed"
    first, second = answers(small_host, run_id)
    assert first["status"] == "running"
    assert (second["status"], second["response"]) == ("completed", "done late")
    assert second["sub_run_id"] == first["sub_run_id"]


def test_three_deep_and_no_deeper(small_host):
    calls = [ask("0 x")]
    for _ in range(3):
        calls = [["call_agent_boss", {"text": json.dumps(calls)}]]
    run_id = delegate(small_host, *calls)
    assert small_host.wait_run(run_id)["status"] == "completed"
    said = answers(small_host, run_id)
    for _ in range(3):
        said = json.loads(said[0]["response"])
    assert said[0]["code"] == "too_deep"


def test_to_cancel_a_run_cancels_what_it_asked_for(small_host):
    run_id = delegate(small_host, ask("60 never"))
    small_host.wait_for(lambda: children(small_host, run_id), "a sub-run")
    (child,) = children(small_host, run_id)
    small_host.wait_run(child["id"], "running")
    small_host.cancel(run_id)
    assert small_host.wait_run(run_id)["status"] == "cancelled"
    assert small_host.wait_run(child["id"])["status"] == "cancelled"


def test_an_adopted_run_goes_on_waiting_for_the_same_sub_run(small_host):
    run_id = delegate(small_host, ask("4 adopted"))
    small_host.wait_for(lambda: children(small_host, run_id), "a sub-run")
    (child,) = children(small_host, run_id)
    small_host.wait_run(child["id"], "running")
    small_host.start_worker("worker-2")
    small_host.kill("worker-1")
    assert small_host.wait_run(run_id, timeout_seconds=60)["status"] == "completed"
    (answer,) = answers(small_host, run_id)
    assert (answer["status"], answer["response"]) == ("completed", "done adopted")
    assert [one["id"] for one in children(small_host, run_id)] == [child["id"]]
    assert small_host.events(run_id, "run.adopted")
