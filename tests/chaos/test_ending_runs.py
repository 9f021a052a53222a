"""Messages that are fired into ending runs, and events that come many times."""
# ruff: noqa: S311 - random times, no secrets

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection

from runners.models import AgentRun, EventLog, QueuedMessage, TranscriptItem
from tests.runners.test_admission import admit, message
from tests.support.load import broken_ledgers, send

THREADS = 8
PING_PONG = 150
CONVERSATIONS = 2000
EVENTS, COPIES = 1000, 5
LASTS = 0.05  # seconds of a run in its plugin

pytestmark = [pytest.mark.timeout(600)]


def text_of(word):
    return f"{LASTS} {word}"


def test_150_messages_play_ping_pong_with_ending_runs(cluster, waiting_agent, record):
    cluster.start(webs=1, workers=2, plugins=2)
    room, statuses = None, Counter[str]()
    for number in range(PING_PONG):
        sent = send(waiting_agent, text_of(f"ping.{number}"), conversation="ping")
        room = sent.conversation
        statuses[sent.status] += 1
        wait_until(partial(nothing_waits, room))
        time.sleep(random.uniform(0, 3 * LASTS))
    record("sent", dict(statuses))
    wait_until(lambda: not AgentRun.objects.live().exists())
    check_answers(room, [f"ping.{number}" for number in range(PING_PONG)])


def test_2000_messages_are_fired_into_2000_ending_runs(cluster, waiting_agent, record):
    cluster.start(webs=1, workers=2, plugins=4)
    with ThreadPoolExecutor(THREADS) as pool:
        names = [f"room{number}" for number in range(CONVERSATIONS)]
        fired = list(pool.map(lambda name: fire(waiting_agent, name), names))
    record("sent", dict(Counter(status for _, status in fired)))
    wait_until(lambda: not AgentRun.objects.live().exists(), 300)
    assert not QueuedMessage.objects.waiting().exists()
    for name, (room, _) in zip(names, fired, strict=True):
        check_answers(room, [f"{name}.first", f"{name}.second"])


def fire(agent, name):
    """Begin a run, and send a message at about the time when it ends."""
    first = send(agent, text_of(f"{name}.first"), conversation=name)
    assert first.run is not None
    run = AgentRun.objects.filter(pk=first.run.pk)
    wait_until(lambda: run.exclude(status="queued").exists(), pause=0.005)
    time.sleep(random.uniform(0, 2 * LASTS))
    second = send(agent, text_of(f"{name}.second"), conversation=name)
    connection.close()
    return first.conversation, second.status


def test_1000_events_sent_5_times_each_make_1000_runs(cluster, waiting_agent, record):
    cluster.start(webs=1, workers=2, plugins=4)
    given = [f"event{number}" for number in range(EVENTS)] * COPIES
    random.shuffle(given)
    with ThreadPoolExecutor(THREADS) as pool:
        statuses = list(pool.map(lambda name: send_once(waiting_agent, name), given))
    record("sent", dict(Counter(statuses)))
    assert Counter(statuses) == {"started": EVENTS, "duplicate": EVENTS * (COPIES - 1)}
    wait_until(lambda: not AgentRun.objects.live().exists(), 300)
    assert EventLog.objects.filter(type="message.received").count() == EVENTS
    assert Counter(AgentRun.objects.values_list("status", flat=True)) == {
        "completed": EVENTS
    }


def send_once(agent, name):
    given = message(agent, f"0 {name}", name, event_id=name)
    status = admit(given).status
    connection.close()
    return status


def check_answers(room, words):
    """Every message has its answer, in order."""
    rows = TranscriptItem.objects.filter(conversation=room).order_by("seq")
    said = [f"{row.role} {row.text.split()[1]}" for row in rows]
    assert said == [
        f"{role} {word}" for word in words for role in ("user", "assistant")
    ]
    runs = list(AgentRun.objects.filter(conversation=room).values_list("pk", flat=True))
    assert len(runs) == len(words)
    assert broken_ledgers(runs) == []


def nothing_waits(room):
    return not QueuedMessage.objects.waiting().filter(conversation=room).exists()


def wait_until(check, seconds=120, pause=0.02):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(pause)
