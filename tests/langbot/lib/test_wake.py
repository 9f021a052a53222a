"""A wake goes out after the commit, in its own time, and its loss costs two seconds."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis
from asgiref.sync import sync_to_async
from celery import Celery
from django.db import connection, transaction

from langbot.celery import configure
from langbot.lib import wake as wake_module
from langbot.lib.conf import limits
from langbot.lib.wake import CircuitBreaker, Waker, wake
from langbot.valkey import Valkey
from runners.engine.engine import Engine
from runners.models import AgentRun
from tests.langbot.lib import wake_app
from tests.runners.admin_rows import make_run

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "tests.task"
OPEN_SECONDS = 0.5
QUICK = 0.2  # seconds; a broker that does not answer takes longer than that


class Broker:
    """A server of the test's own, and what waits in its queues."""

    def __init__(self, server):
        self.server = server

    @property
    def client(self):
        return redis.Redis.from_url(self.server.url)

    def messages(self, queue="runs"):
        """Return (task, row ids) of each message, oldest first."""
        keys = self.client.keys(f"*celery:{queue}")
        found = [
            one for key in keys for one in reversed(self.client.lrange(key, 0, -1))
        ]
        return [message_of(json.loads(one)) for one in found]

    def wait(self, count, queue="runs", seconds=10.0):
        deadline = time.monotonic() + seconds
        while len(found := self.messages(queue)) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found


def message_of(document):
    arguments, _named, _embed = json.loads(base64.b64decode(document["body"]))
    return document["headers"]["task"], arguments[0]


@pytest.fixture
def broker(settings, monkeypatch):
    with Valkey() as server:
        settings.LANGBOT = {
            **settings.LANGBOT,
            "REDIS_URL": server.url,
            "CELERY_APP": "tests.langbot.lib.wake_app.app",
        }
        app = Celery("wakes", set_as_current=False)
        configure(app)
        monkeypatch.setattr(wake_app, "app", app)
        monkeypatch.setattr(wake_module, "_OPEN_SECONDS", OPEN_SECONDS)
        monkeypatch.setattr(wake_module, "_waker", Waker())
        yield Broker(server)
        app.close()


def send(*row_ids, task=NAME, queue="runs"):
    wake(task, row_ids, queue=queue)


def settled():
    """Wait until the sender has nothing more to do."""
    wake_module._waker._thread.submit(lambda: None).result(10)


def test_a_wake_waits_for_the_commit(broker):
    with transaction.atomic():
        with transaction.atomic():
            send(1)
        settled()
        assert broker.messages() == []
    assert broker.wait(1) == [(NAME, [1])]
    send(2)  # without a transaction, at once
    assert broker.wait(2)[1] == (NAME, [2])


def test_nothing_is_sent_of_what_is_rolled_back(broker):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send(1)
        raise ZeroDivisionError
    with transaction.atomic():
        send(2)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send(3)
            raise ZeroDivisionError
    settled()
    assert broker.messages() == [(NAME, [2])]


def test_nothing_is_sent_for_no_rows(broker):
    send()
    settled()
    assert broker.messages() == []


def test_a_burst_goes_out_together(broker):
    go = threading.Event()
    wake_module._waker._thread.submit(go.wait)
    for number in range(100):
        send(number)
    send(7, queue="ops")
    send(8, task="tests.other")
    go.set()
    settled()
    assert broker.messages() == [(NAME, list(range(100))), ("tests.other", [8])]
    assert broker.messages("ops") == [(NAME, [7])]


def test_many_threads_lose_nothing(broker):
    def work(start):
        for number in range(start, start + 50):
            send(number)
        connection.close()

    threads = [threading.Thread(target=work, args=(n * 50,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled()
    sent = [row_id for _, row_ids in broker.messages() for row_id in row_ids]
    assert sorted(sent) == list(range(400))
    assert len(broker.messages()) < 400


def stop(server):
    server.process.kill()
    server.process.wait()


def freeze(server):
    os.kill(server.process.pid, signal.SIGSTOP)


@pytest.mark.parametrize("break_it", [stop, freeze])
def test_without_redis_nobody_notices(broker, break_it, caplog):
    send(1)
    broker.wait(1)
    break_it(broker.server)
    begun = time.perf_counter()
    for number in range(200):
        with transaction.atomic():
            send(number)
    assert time.perf_counter() - begun < QUICK * 5  # 200 transactions and no wait
    settled()
    assert caplog.text.count(f"wake of {NAME} failed") == 1  # the others were not tried


def test_when_redis_is_back_wakes_are_sent_again(broker):
    stop(broker.server)
    send(1)
    settled()
    broker.server.start()
    send(2)  # within the pause
    settled()
    assert broker.messages() == []
    time.sleep(OPEN_SECONDS)
    send(3)
    assert broker.wait(1) == [(NAME, [3])]


def test_a_breaker_closes_by_itself():
    breaker = CircuitBreaker(0.05)
    assert breaker.allows()
    breaker.trip()
    assert not breaker.allows()
    time.sleep(0.06)
    assert breaker.allows()


def test_a_bug_in_sending_reaches_nobody(broker, monkeypatch, caplog):
    monkeypatch.setattr(wake_app, "app", object())
    send(1)
    settled()
    assert "AttributeError" in caplog.text


ENDING = """
import os, sys
import django
django.setup()
from langbot.lib.wake import wake
wake("tests.task", [1], queue="runs")
wake("tests.task", [2], queue="runs")
"""
FORKING = """
from langbot.lib.wake import _waker
_waker._thread.submit(str).result(10)  # a fork in the middle of imports is no fork
wake("tests.task", [3], queue="runs")
child = os.fork()
wake("tests.task", [4 if child else 5], queue="runs")
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [(ENDING, {1, 2}), (ENDING + FORKING, {1, 2, 3, 4, 5})],
    ids=["ends", "forks"],
)
def test_what_waits_is_sent_when_the_process_ends(
    broker, process_environment, script, expected
):
    # An executable of its own, so that its Celery app is the project's.
    environment = process_environment | {
        "REDIS_URL": broker.server.url,
        "DJANGO_SETTINGS_MODULE": "langbot.settings",
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    sent = [row_id for _, row_ids in broker.messages() for row_id in row_ids]
    assert set(sent) == expected


async def test_a_lost_message_is_found_within_two_seconds(agent):
    engine = Engine()
    await engine.start()
    try:
        await asyncio.sleep(0.5)
        run = await sync_to_async(make_run)(agent, status="queued")
        begun = time.monotonic()
        rows = AgentRun.objects.filter(pk=run.pk, status_reason="runner_offline")
        while not await rows.aexists():
            assert time.monotonic() - begun < limits().poll_seconds + 1.5
            await asyncio.sleep(0.05)
    finally:
        await engine.stop()
