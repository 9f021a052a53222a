"""The bucket of one process; the one in Redis is asked by tests/langbot/api."""

import pytest

from langbot.lib.buckets import LocalBucket


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("langbot.lib.buckets.time.monotonic", lambda: now[0])
    return now


def test_it_holds_a_burst_and_fills_with_time(clock):
    bucket = LocalBucket(per_second=2, burst=3)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    clock[0] += 0.4
    assert bucket.take() == pytest.approx(0.1)
    clock[0] += 0.11
    assert bucket.take() == 0


def test_a_refused_call_costs_nothing(clock):
    bucket = LocalBucket(per_second=1, burst=1)
    bucket.take()
    for _ in range(1000):
        assert bucket.take() == 1
    clock[0] += 1
    assert bucket.take() == 0


def test_a_long_silence_gives_no_more_than_a_burst(clock):
    bucket = LocalBucket(per_second=5, burst=2)
    clock[0] += 3600
    assert [bucket.take() for _ in range(3)] == [0, 0, pytest.approx(0.2)]
