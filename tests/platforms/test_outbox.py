import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from platforms import outbox
from platforms.adapters import registry
from platforms.adapters.base import Adapter, AdapterError, SendResult
from platforms.sending import Sender
from runners.choices import DeliveryStatus
from runners.models import Delivery
from tests.factories import BotFactory
from tests.platforms.receiver import Receiver, delivery, webhook_bot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(settings):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["127.0.0.1"]}
    server = Receiver()
    yield server
    server.close()


class UnreliableAdapter(Adapter):
    """A platform without keys against repeats; `error` is what sending raises."""

    kind = "unreliable"
    label = "Unreliable"
    error: AdapterError | Exception | None = None

    def send(self, bot, delivery):
        if self.error is not None:
            raise self.error
        return SendResult(message_id="7")


@pytest.fixture
def unreliable(monkeypatch):
    adapter = UnreliableAdapter()
    monkeypatch.setitem(registry._adapters, adapter.kind, adapter)
    return adapter


def fresh(row):
    return Delivery.objects.get(pk=row.pk)


def run_due_now(row):
    Delivery.objects.filter(pk=row.pk).update(
        next_attempt_at=Now() - timedelta(seconds=1)
    )


def abandon(row):
    """Leave the row as a sender killed in the middle would."""
    Delivery.objects.filter(pk=row.pk).update(
        status=DeliveryStatus.SENDING,
        attempts=1,
        attempt_log=[{"at": "then", "outcome": "started"}],
        claimed_until=Now() - timedelta(seconds=1),
    )


def test_delivery_is_sent_once_and_recorded(receiver):
    row = delivery(webhook_bot(receiver.url), "hello")
    assert outbox.deliver(row.pk) is not None
    assert outbox.deliver(row.pk) is None
    row = fresh(row)
    assert row.status == DeliveryStatus.DELIVERED
    assert row.delivered_at is not None
    assert row.attempts == 1
    assert [entry["outcome"] for entry in row.attempt_log] == ["delivered"]
    assert row.attempt_log[0]["status_code"] == 200
    assert receiver.texts() == ["hello"]
    assert receiver.calls[0]["headers"]["webhook-id"] == str(row.idempotency_key)


def test_definite_failures_back_off_and_end(receiver):
    receiver.answer = lambda call: 503
    row = delivery(webhook_bot(receiver.url))
    expected = [10, 30, 120, 600, 1800]
    for wait in expected:
        outbox.deliver(row.pk)
        left = (fresh(row).next_attempt_at - datetime.now(UTC)).total_seconds()
        assert fresh(row).status == DeliveryStatus.PENDING
        assert 0.8 * wait - 3 <= left <= 1.2 * wait + 1
        assert outbox.deliver(row.pk) is None
        run_due_now(row)
    outbox.deliver(row.pk)
    row = fresh(row)
    assert row.status == DeliveryStatus.FAILED
    assert row.attempts == len(row.attempt_log) == 6
    assert "503" in row.last_error
    assert len({call["headers"]["webhook-id"] for call in receiver.calls}) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 301])
def test_permanent_refusal_fails_at_once(receiver, status):
    receiver.answer = lambda call: status
    bot = webhook_bot(receiver.url)
    row = delivery(bot)
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.FAILED
    assert fresh(row).attempt_log[0]["status_code"] == status
    bot.refresh_from_db()
    assert str(status) in bot.last_error


def test_hang_up_is_repeated_because_the_receiver_deduplicates(receiver):
    receiver.answer = lambda call: 0
    row = delivery(webhook_bot(receiver.url))
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.PENDING
    receiver.answer = lambda call: 200
    run_due_now(row)
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.DELIVERED


def test_private_address_is_refused(settings):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": []}
    server = Receiver()
    row = delivery(webhook_bot(server.url))
    outbox.deliver(row.pk)
    server.close()
    assert fresh(row).status == DeliveryStatus.FAILED
    assert server.calls == []


@pytest.mark.parametrize(
    ("error", "at_least_once", "expected"),
    [
        (AdapterError("?", ambiguous=True), False, DeliveryStatus.UNCERTAIN),
        (AdapterError("?", ambiguous=True), True, DeliveryStatus.PENDING),
        (AdapterError("no"), False, DeliveryStatus.PENDING),
        (AdapterError("no", permanent=True), True, DeliveryStatus.FAILED),
        (ZeroDivisionError("bug"), False, DeliveryStatus.UNCERTAIN),
    ],
)
def test_outcome_on_a_platform_that_repeats(unreliable, error, at_least_once, expected):
    unreliable.error = error
    bot = BotFactory.create(adapter="unreliable")
    row = delivery(bot, at_least_once=at_least_once)
    outbox.deliver(row.pk)
    assert fresh(row).status == expected
    assert "bug" not in fresh(row).last_error


@pytest.mark.parametrize(
    ("adapter", "at_least_once", "expected"),
    [
        ("unreliable", False, DeliveryStatus.UNCERTAIN),
        ("unreliable", True, DeliveryStatus.DELIVERED),
        ("web", False, DeliveryStatus.DELIVERED),
    ],
)
def test_what_a_dead_sender_left(unreliable, adapter, at_least_once, expected):
    row = delivery(BotFactory.create(adapter=adapter), at_least_once=at_least_once)
    abandon(row)
    outbox.deliver(row.pk)
    row = fresh(row)
    assert row.status == expected
    assert row.attempt_log[0]["outcome"] == "abandoned"


def test_claim_that_still_runs_is_left_alone(unreliable):
    row = delivery(BotFactory.create(adapter="unreliable"))
    abandon(row)
    Delivery.objects.update(claimed_until=Now() + timedelta(seconds=30))
    assert outbox.deliver(row.pk) is None
    assert outbox.due() == []


def test_lost_claim_changes_nothing(receiver):
    row = delivery(webhook_bot(receiver.url))
    receiver.release.clear()
    thread = threading.Thread(target=outbox.deliver, args=(row.pk,))
    thread.start()
    assert receiver.arrived.wait(10)
    other = {"claim_token": row.public_id, "attempts": 2, "last_error": "other's"}
    Delivery.objects.filter(pk=row.pk).update(**other)
    receiver.release.set()
    thread.join()
    assert fresh(row).status == DeliveryStatus.SENDING
    assert fresh(row).last_error == "other's"


def test_failed_first_holds_back_the_rest_of_its_target_only(receiver):
    receiver.answer = lambda call: 503 if call["body"]["text"] == "1" else 200
    bot = webhook_bot(receiver.url)
    first, second = delivery(bot, "1"), delivery(bot, "2")
    other = delivery(bot, "3", target="elsewhere|")
    assert outbox.due() == [first.pk, other.pk]
    outbox.deliver(first.pk)
    assert outbox.deliver(second.pk) is None
    assert outbox.due() == [other.pk]
    assert outbox.cancel_delivery(first)
    assert outbox.following(first) == second.pk


@pytest.mark.parametrize("case", ["disabled", "gone", "unknown platform"])
def test_bot_that_cannot_send_fails_with_the_reason(case):
    bot = BotFactory.create(enabled=case != "disabled", adapter="web")
    row = delivery(bot)
    if case == "gone":
        bot.delete()
    elif case == "unknown platform":
        type(bot).objects.update(adapter="telepathy")
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.FAILED
    assert fresh(row).last_error


def test_unreadable_secret_fails_with_the_reason(receiver, settings):
    row = delivery(webhook_bot(receiver.url))
    key = "bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleTE="
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [key]}
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.FAILED
    assert "secrets" in fresh(row).last_error


def test_retry_sends_again_under_the_same_key(receiver):
    receiver.answer = lambda call: 400
    row = delivery(webhook_bot(receiver.url))
    outbox.deliver(row.pk)
    receiver.answer = lambda call: 200
    assert outbox.retry_delivery(fresh(row))
    assert not outbox.retry_delivery(fresh(row))
    outbox.deliver(row.pk)
    assert fresh(row).status == DeliveryStatus.DELIVERED
    assert len({call["headers"]["webhook-id"] for call in receiver.calls}) == 1


def test_log_keeps_the_last_fifty_attempts(unreliable):
    unreliable.error = AdapterError("no", permanent=True)
    row = delivery(BotFactory.create(adapter="unreliable"))
    for _ in range(55):
        outbox.deliver(row.pk)
        outbox.retry_delivery(fresh(row))
    assert len(fresh(row).attempt_log) == 50


def test_eight_threads_send_each_once_in_order(receiver):
    """200 deliveries of 10 targets, every thread trying every one."""
    bot = webhook_bot(receiver.url)
    rows = [
        delivery(bot, f"{number:03}", target=f"room-{number % 10}|")
        for number in range(200)
    ]
    receiver.delay_seconds = 0.003
    give_up = time.monotonic() + 90

    def work():
        keys = [row.pk for row in rows]
        try:
            while open_deliveries() and time.monotonic() < give_up:
                for key in [*outbox.due(), *random.sample(keys, 3)]:
                    outbox.deliver(key)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_sent_once_in_order(receiver)


def test_sender_follows_a_target_from_one_wake_up(receiver):
    bot = webhook_bot(receiver.url)
    rows = [
        delivery(bot, f"{number:03}", target=f"room-{number % 4}|")
        for number in range(100)
    ]
    sender = Sender(8)
    for row in rows[:4]:
        assert sender.submit(row.pk)
    wait_until(lambda: not open_deliveries())
    sender.stop()
    assert not sender.submit(rows[0].pk)
    assert_sent_once_in_order(receiver, 100)


def assert_sent_once_in_order(receiver, count=200):
    texts = receiver.texts()
    assert sorted(texts) == [f"{number:03}" for number in range(count)]
    by_target: dict[str, list[str]] = {}
    for call in receiver.calls:
        body = call["body"]
        by_target.setdefault(body["conversation"], []).append(body["text"])
    assert all(sent == sorted(sent) for sent in by_target.values())


def open_deliveries():
    return Delivery.objects.filter(status__in=["pending", "sending"]).count()


def wait_until(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


SENDER = """
import sys, django
django.setup()
from platforms import outbox
outbox.deliver(int(sys.argv[1]))
"""


def start_sender(environment, row):
    variables = {**environment, "LANGBOT_OUTBOUND_ALLOW": "127.0.0.1"}
    return subprocess.Popen([sys.executable, "-c", SENDER, str(row.pk)], env=variables)


@pytest.mark.parametrize("deduplicates", [True, False])
def test_sender_killed_in_the_middle(
    receiver, process_environment, monkeypatch, deduplicates
):
    row = delivery(webhook_bot(receiver.url), "precious")
    receiver.release.clear()
    process = start_sender(process_environment, row)
    assert receiver.arrived.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    receiver.release.set()
    assert fresh(row).status == DeliveryStatus.SENDING
    assert outbox.deliver(row.pk) is None  # its claim still holds
    Delivery.objects.update(claimed_until=Now() - timedelta(seconds=1))
    monkeypatch.setattr(type(registry.get("webhook")), "deduplicates", deduplicates)
    outbox.deliver(row.pk)
    ids = [call["headers"]["webhook-id"] for call in receiver.calls]
    if deduplicates:
        assert fresh(row).status == DeliveryStatus.DELIVERED
        assert ids == [str(row.idempotency_key)] * 2
    else:
        assert fresh(row).status == DeliveryStatus.UNCERTAIN
        assert len(ids) == 1


def test_four_processes_send_each_once(receiver, process_environment):
    bot = webhook_bot(receiver.url)
    for number in range(60):
        delivery(bot, f"{number:03}", target=f"room-{number % 5}|")
    program = """
import django
django.setup()
from platforms import outbox
from runners.models import Delivery
while Delivery.objects.filter(status__in=["pending", "sending"]).exists():
    for key in outbox.due():
        outbox.deliver(key)
"""
    variables = {**process_environment, "LANGBOT_OUTBOUND_ALLOW": "127.0.0.1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env=variables)
        for _ in range(4)
    ]
    assert [process.wait(90) for process in processes] == [0] * 4
    assert_sent_once_in_order(receiver, 60)
