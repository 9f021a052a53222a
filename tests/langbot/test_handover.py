"""Handover tasks on a real worker and broker, with and without acknowledgement."""

import os
from queue import Queue as Taken
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker
from kombu import Exchange, Queue

from langbot.celery import broker_url
from langbot.lib.handover import HandoverTask

MESSAGES = 50


@pytest.fixture
def prefix():
    return f"handover-{uuid4().hex}:"


@pytest.fixture
def app(prefix):
    app = Celery(f"handover-{uuid4().hex}", set_as_current=False)
    app.conf.update(
        broker_url=broker_url(os.environ["REDIS_URL"]),
        broker_transport_options={"global_keyprefix": prefix},
        task_queues=[
            Queue("asks", Exchange("asks"), "asks"),
            Queue("silent", Exchange("silent"), "silent", no_ack=True),
        ],
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
    )
    yield app
    app.close()


@pytest.fixture
def taken(app):
    numbers: Taken[int] = Taken()

    def take(number):
        if number < 0:
            message = "not taken"
            raise ValueError(message)
        numbers.put(number)

    app.task(take, base=HandoverTask, name="take", shared=False)
    return numbers


@pytest.mark.parametrize("queue", ["asks", "silent"])
def test_each_message_is_taken_once_in_order_and_none_is_left(
    app, taken, prefix, queue
):
    with start_worker(app, pool="threads", perform_ping_check=False):
        for number in range(MESSAGES):
            if number == MESSAGES // 2:
                app.send_task("take", args=(-1,), queue=queue)  # the others go on
            app.send_task("take", args=(number,), queue=queue)
        assert [taken.get(timeout=30) for _ in range(MESSAGES)] == [*range(MESSAGES)]
    assert taken.empty()
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    left = [key for key in client.scan_iter(f"{prefix}*") if b"binding" not in key]
    assert left == []
    client.close()
