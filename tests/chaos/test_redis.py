"""Redis killed and started again under load: it is transport and may lose things."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from langbot.core.tokens import create_api_token
from langbot.valkey import Valkey
from runners.models import AgentRun
from tests.factories import AgentBindingFactory
from tests.support.cluster import Cluster
from tests.support.load import Load, broken_ledgers, wait_for_status

RUNS = 300
DOWN_SECONDS = 4.0

pytestmark = [pytest.mark.timeout(300)]


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
def accept(cluster, user, workspace, waiting_agent):
    """Send one event over REST; returns the run's id and the seconds it took."""
    AgentBindingFactory(agent=waiting_agent)
    _, token = create_api_token(user, workspace, "tests")

    def send(number):
        begun = time.monotonic()
        answer = httpx2.post(
            f"{cluster.url()}/api/v1/events/",
            headers={"Authorization": f"Bearer {token}"},
            json={
                "type": "message.received",
                "conversation": f"down-{number}",
                "input": {"text": f"1 down-{number}"},
            },
            timeout=30,
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["run_id"], time.monotonic() - begun

    return send


def restart(server, seconds_down=DOWN_SECONDS, meanwhile=None):
    """Kill the server, start it again after a while without any data."""
    server.process.kill()
    server.process.wait()
    until = time.monotonic() + seconds_down
    while time.monotonic() < until:
        if meanwhile is not None:
            meanwhile()
        else:
            time.sleep(0.1)
    server.start()


def test_a_restart_loses_no_accepted_event(
    cluster, redis_server, waiting_agent, accept, record
):
    cluster.start(workers=0)
    load = Load()
    for number in range(RUNS):
        load.send(waiting_agent, f"10 {number}", f"done {number}")
    cluster.start_worker(), cluster.start_worker()
    wait_for_status(load, ["running", "completed"], 90)
    accepted: list[tuple[str, float]] = []
    with ThreadPoolExecutor(4) as pool:
        numbers = iter(range(10_000))

        def four():
            accepted.extend(pool.map(accept, [next(numbers) for _ in range(4)]))

        four()
        restart(redis_server, meanwhile=four)
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            four()
    slowest = max(seconds for _, seconds in accepted)
    record("accepted around the restart", len(accepted))
    record("slowest answer", slowest)
    runs = AgentRun.objects.filter(public_id__in=[run for run, _ in accepted])
    for run in runs.select_related("event"):
        load.expected[run.pk] = "done " + run.event.input["text"].split()[1]
    assert len(load.ids) == RUNS + len(accepted)
    record("all ended after", load.wait(120))
    record("statuses", dict(load.statuses()))
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []
    assert load.statuses() == {"completed": len(load.ids)}
    assert slowest < 5


def test_results_of_restarts_in_a_row_are_whole(
    cluster, redis_server, streaming_agent, record
):
    """Redis is killed while runs stream, call the host and end."""
    cluster.start(workers=1, plugins=2)
    load = Load()
    for number in range(40):
        text = f"100 {6 + number % 10} 0 w{number}"
        words = "".join(f"w{number}.{index} " for index in range(100))
        load.send(streaming_agent, text, f"{words}=0")
    wait_for_status(load, ["running", "completed"], 60)
    for _ in range(4):
        time.sleep(1)
        restart(redis_server, seconds_down=0.3)
    record("all ended after", load.wait(90))
    assert load.statuses() == {"completed": 40}
    assert load.wrong_answers() == []
    assert broken_ledgers(load.ids) == []
