"""The four strategies for a second message, on real processes, in 100 interleavings."""
# ruff: noqa: S311 - random times, no secrets

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from agents.choices import MultitaskStrategy
from runners.errors import ConversationBusyError
from runners.models import AgentRun
from tests.support.load import Load, send, wait_for_status
from tests.support.outcomes import check_outcomes

INTERLEAVINGS = 100
MESSAGES = 6
THREADS = 8

pytestmark = [pytest.mark.timeout(600)]


def talk(agent, room):
    """Send messages at random times while runs start, work and end."""
    accepted, refused = [], 0
    for number in range(MESSAGES):
        text = f"{random.uniform(0, 0.3):.3f} {room}.{number}"
        try:
            accepted.append((text, send(agent, text, conversation=room)))
        except ConversationBusyError:
            refused += 1
        time.sleep(random.uniform(0, 0.5))
    connection.close()
    return accepted, refused


@pytest.mark.parametrize("strategy", MultitaskStrategy.values)
def test_nothing_is_lost_and_order_is_kept(cluster, waiting_agent, record, strategy):
    waiting_agent.multitask_strategy = strategy
    waiting_agent.save()
    cluster.start(webs=1, workers=2, plugins=2)
    rooms = [f"{strategy}-{number}" for number in range(INTERLEAVINGS)]
    with ThreadPoolExecutor(THREADS) as pool:
        talked = list(pool.map(lambda room: talk(waiting_agent, room), rooms))
    record("all ended after", wait_until_idle())
    for accepted, refused in talked:
        assert len(accepted) + refused == MESSAGES
        check_outcomes(strategy, accepted)
    runs = Counter(AgentRun.objects.values_list("status", flat=True))
    record("runs", dict(runs))
    refusals = sum(refused for _, refused in talked)
    record("refused", refusals)
    assert bool(refusals) == (strategy == "reject")
    assert bool(runs["cancelled"]) == (strategy in {"interrupt", "rollback"})


def wait_until_idle(seconds=120):
    """Wait until no run is live; each end opens the next turn in its transaction."""
    begun = time.monotonic()
    while AgentRun.objects.live().exists():
        live = AgentRun.objects.live().values_list("pk", flat=True)
        load = Load(dict.fromkeys(live, ""))
        wait_for_status(load, ["completed", "failed", "cancelled", "timeout"], seconds)
    return time.monotonic() - begun
