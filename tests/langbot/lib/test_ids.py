import multiprocessing
import os
import threading
import time
from uuid import RFC_4122, UUID

from langbot.lib import ids
from langbot.lib.ids import uuid7


def test_uuid7_has_version_variant_and_time():
    before = time.time_ns() // 1_000_000
    value = uuid7()
    assert (value.version, value.variant) == (7, RFC_4122)
    assert 0 <= (value.int >> 80) - before < 1000


def test_uuid7_grows_within_a_process():
    values = [uuid7() for _ in range(200_000)]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert all(value.version == 7 for value in values[::1000])


def test_uuid7_grows_when_the_clock_goes_back(monkeypatch):
    now = time.time_ns()
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: now - 5_000_000_000)
    assert uuid7() > first


def test_uuid7_survives_a_used_up_millisecond(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000)
    monkeypatch.setattr(ids, "_sequence", ids._Sequence())
    first = uuid7()
    ids._sequence.tail = (1 << 74) - 1
    second = uuid7()
    assert (second.int >> 80) == (first.int >> 80) + 1
    assert uuid7() > second > first


def test_uuid7_is_unique_over_threads():
    found: list[list[UUID]] = []

    def make():
        found.append([uuid7() for _ in range(20_000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({value for values in found for value in values}) == 160_000
    assert all(values == sorted(values) for values in found)


def _make_some(queue):
    queue.put((os.getpid(), [uuid7().hex for _ in range(500)]))


def test_uuid7_is_unique_over_forks():
    uuid7()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_make_some, args=(queue,)) for _ in range(6)]
    for child in children:
        child.start()
    values = [value for _ in children for value in queue.get(timeout=20)[1]]
    for child in children:
        child.join()
    assert len(set(values)) == 3000
