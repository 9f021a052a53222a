"""Messages that arrive just while the conversation's run is ending."""
# ruff: noqa: S311 - random times, no secrets

import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from runners.models import AgentRun, QueuedMessage, TranscriptItem
from tests.support.load import Load, broken_ledgers, send

CONVERSATIONS = 200
MESSAGES = 4
THREADS = 8

pytestmark = [pytest.mark.timeout(300)]


def talk(agent, conversation):
    """Send messages at random times about as far apart as its runs last."""
    outcomes = []
    for number in range(MESSAGES):
        text = f"{random.uniform(0, 0.2):.3f} {conversation}.{number}"
        outcomes.append(send(agent, text, conversation=conversation))
        time.sleep(random.uniform(0, 0.5))
    connection.close()
    return outcomes


def test_every_message_of_a_busy_conversation_is_answered_in_order(
    cluster, waiting_agent, record
):
    cluster.start(webs=1, workers=2, plugins=2)
    names = [f"talk{number}" for number in range(CONVERSATIONS)]
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda name: talk(waiting_agent, name), names))
    statuses = [one.status for talked in outcomes for one in talked]
    record("started at once", statuses.count("started"))
    record("queued", statuses.count("queued"))
    assert statuses.count("queued") > CONVERSATIONS / 4
    record("all answered after", wait_for_answers())
    assert not QueuedMessage.objects.exclude(status="promoted").exists()
    said = defaultdict(list)
    for item in TranscriptItem.objects.order_by("conversation", "seq"):
        said[item.conversation_id].append(f"{item.role} {item.text.split()[1]}")
    for name, talked in zip(names, outcomes, strict=True):
        words = [f"{name}.{number}" for number in range(MESSAGES)]
        expected = [
            f"{role} {word}" for word in words for role in ("user", "assistant")
        ]
        assert said[talked[0].conversation.pk] == expected
    runs = list(AgentRun.objects.values_list("pk", flat=True))
    assert len(runs) == CONVERSATIONS * MESSAGES
    assert broken_ledgers(runs) == []


def wait_for_answers(seconds=120):
    begun = time.monotonic()
    while True:
        load = Load(dict.fromkeys(AgentRun.objects.values_list("pk", flat=True), ""))
        if load.statuses() == {"completed": CONVERSATIONS * MESSAGES}:
            return time.monotonic() - begun
        assert time.monotonic() - begun < seconds, load.statuses()
        time.sleep(0.5)
