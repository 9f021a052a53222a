"""A worker is killed, one is stopped, one sleeps; the long form is in tests/chaos."""

from contextlib import suppress

import pytest

from tests.platforms.receiver import Receiver, webhook_bot
from tests.support import counting_tool
from tests.support.campaign import Campaign, put_to_sleep
from tests.support.cluster import Cluster, HostProcess, wait_until
from tests.support.runner_agents import working_agent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


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
        yield Campaign(
            cluster, working_agent(workspace), bot, receiver, marks, in_flight=8
        )
    receiver.close()


def test_runs_come_through_whatever_happens_to_their_worker(campaign):
    campaign.cluster.start(webs=1, workers=2, plugins=1)
    campaign.top_up()
    wait_until(lambda: campaign.runs().running().count() >= 8, "runs are under way", 60)
    campaign.kill_and_replace()
    campaign.top_up()
    campaign.lose_worker(HostProcess.terminate)
    wait_until(campaign.is_adopted, "what it had is adopted", 60)
    campaign.cluster.start_worker()
    wait_until(lambda: len(campaign.carrying()) == 2, "two workers are up", 60)
    asleep = campaign.lose_worker(put_to_sleep)
    # A sleeper may hold a lock of the database file, and then nobody can go on.
    with suppress(TimeoutError):
        wait_until(campaign.is_adopted, "what it had is adopted", 30)
    asleep.resume()
    campaign.wait(120)
    whole, carried = campaign.survived()
    assert whole == carried > 0
    assert set(campaign.statuses()) == {"completed"}
    assert campaign.problems() == []
    assert campaign.disordered() == []
