"""Workers die 200 times; the short form is `tests/e2e/test_kills_short.py`."""

import os
from functools import partial

import pytest

from tests.platforms.receiver import Receiver, webhook_bot
from tests.support import counting_tool
from tests.support.campaign import Campaign, put_to_sleep, registered
from tests.support.cluster import Cluster, HostProcess, wait_until
from tests.support.runner_agents import working_agent

KILLS = int(os.environ.get("LANGBOT_CHAOS_KILLS", "200"))
LEAST_SURVIVING = 0.95

pytestmark = [pytest.mark.timeout(3600)]


@pytest.fixture
def campaign(process_environment, workspace, tmp_path):
    receiver, marks = Receiver(), tmp_path / "marks"
    variables = {
        "TEST_APPS": counting_tool.APP,
        counting_tool.MARKS: str(marks),
        "LANGBOT_OUTBOUND_ALLOW": "127.0.0.1",
    }
    bot = webhook_bot(receiver.url, workspace=workspace)
    with Cluster(process_environment | variables) as cluster:
        yield Campaign(cluster, working_agent(workspace), bot, receiver, marks)
    receiver.close()


def tell(campaign, record):
    whole, carried = campaign.survived()
    record("messages", len(campaign.expected))
    record("statuses", dict(campaign.statuses()))
    record("in flight at a kill", carried)
    record("of these whole", whole)
    return whole / carried


def test_200_killed_workers_lose_nothing(campaign, record):
    campaign.cluster.start(webs=1, workers=2, plugins=2)
    for _ in range(KILLS):
        campaign.top_up()
        campaign.kill_and_replace()
    record("all answered after the last kill", campaign.wait(180))
    share = tell(campaign, record)
    assert campaign.problems() == []
    assert campaign.disordered() == []
    assert share >= LEAST_SURVIVING


def test_a_rolling_restart_under_load_loses_no_run(campaign, record):
    campaign.cluster.start(webs=1, workers=2, plugins=2)
    for _ in range(10):
        campaign.top_up()
        seconds = campaign.lose_worker(HostProcess.terminate)
        record("exited after", seconds)
        assert seconds < 10
        worker = campaign.cluster.start_worker()
        wait_until(partial(registered, worker), "a worker is up again")
    campaign.wait(120)
    assert tell(campaign, record) == 1.0
    assert set(campaign.statuses()) == {"completed"}
    assert campaign.problems() == []


def test_a_worker_that_slept_past_its_lease_writes_nothing_stale(campaign, record):
    campaign.cluster.start(webs=1, workers=2, plugins=2)
    for _ in range(5):
        campaign.top_up()
        asleep = campaign.lose_worker(put_to_sleep)
        wait_until(campaign.is_adopted, "its runs are adopted", 30)
        asleep.resume()
    campaign.wait(120)
    assert tell(campaign, record) == 1.0
    assert set(campaign.statuses()) == {"completed"}
    assert campaign.problems() == []
