"""500 runs that wait 10 s each, on 2 workers, 2 webs and 5 plugin processes."""

import pytest

from tests.support.load import Load, broken_ledgers, most_at_once, wait_for_status

RUNS = 500
WAIT_SECONDS = 10

pytestmark = [pytest.mark.timeout(300)]


def send_waiting(agent, runs=RUNS, seconds=WAIT_SECONDS):
    load = Load()
    for number in range(runs):
        load.send(agent, f"{seconds} {number}", f"done {number}")
    return load


@pytest.fixture
def waiting_load(cluster, waiting_agent):
    """500 runs that were admitted before the workers started: all wait together."""
    cluster.start(workers=0)
    load = send_waiting(waiting_agent)
    for _ in range(2):
        cluster.start_worker()
    wait_for_status(load, ["running", "completed"], 90)
    return load


def check_all_completed(load):
    assert load.statuses() == {"completed": len(load.ids)}
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []


def test_500_waiting_runs_complete_without_a_gap(waiting_load, record):
    record("running at once", waiting_load.statuses()["running"])
    record("all ended after", waiting_load.wait(90))
    record("at once, by the ledger", most_at_once(waiting_load.ids))
    check_all_completed(waiting_load)


def test_runs_of_a_killed_worker_are_adopted(cluster, waiting_load, record):
    cluster.workers[0].kill()
    record("all ended after the kill", waiting_load.wait(90))
    record("adopted", waiting_load.adopted())
    check_all_completed(waiting_load)
    assert waiting_load.adopted() > 0


def test_runs_complete_when_a_worker_dies_while_claiming(
    cluster, waiting_agent, record
):
    cluster.start(workers=1)
    load = send_waiting(waiting_agent, runs=100, seconds=3)
    cluster.start_worker()
    cluster.workers[0].kill()
    load.wait(90)
    record("adopted", load.adopted())
    check_all_completed(load)


def test_a_stopped_worker_hands_its_runs_over(cluster, waiting_load, record):
    seconds = cluster.workers[0].terminate()
    record("worker exited after", seconds)
    record("all ended after", waiting_load.wait(90))
    record("adopted", waiting_load.adopted())
    check_all_completed(waiting_load)
    assert waiting_load.adopted() > 0
    assert seconds < 10
