"""What receivers of an embedding project can rely on."""

import threading

import pytest
from django.db import transaction

from runners import signals
from runners.models import AgentRun, Delivery, EventLog
from runners.public import start_run
from tests.support import ledger


@pytest.fixture
def told(request):
    """Connect a receiver to a signal: `told(signal)` returns what it is told."""
    connected = []

    def connect(signal, act=lambda: None):
        calls = []

        def receiver(sender, signal, **arguments):
            calls.append((sender, arguments))
            act()

        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return calls

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def run(agent):
    start_run(agent, "hi")
    return AgentRun.objects.get()


def test_each_signal_has_its_documented_arguments(
    run, told, django_capture_on_commit_callbacks
):
    event, delivery = EventLog.objects.get(), Delivery(status="failed", run=run)
    acts = [
        (signals.event_received, EventLog, (event, "started", run)),
        (signals.run_started, AgentRun, (run, 1)),
        (signals.run_finished, AgentRun, (run,)),
        (signals.action_requested, AgentRun, (run, "question", {"a": 1})),
        (signals.action_resolved, AgentRun, (run, "question", "respond", {"b": 2})),
        (signals.delivery_failed, Delivery, (delivery, "no such channel")),
    ]
    documented = documented_arguments()
    assert len(documented) == len(acts)
    for signal, model, arguments in acts:
        [name] = [key for key, value in vars(signals).items() if value is signal]
        calls = told(signal)
        with (
            signals.synchronous(),
            django_capture_on_commit_callbacks(execute=True),
        ):
            getattr(signals, f"tell_{name}")(*arguments)
            # A claim is told by the loop that made it, when it is committed already.
            assert not calls or name == "run_started", "not before the commit"
        [(sender, received)] = calls
        assert sender is model
        assert sorted(received) == sorted(documented[name])


def documented_arguments():
    rows = [
        line.split("|")[1:4] for line in signals.__doc__.splitlines() if "| `" in line
    ]
    return {row[0].strip(" `"): row[2].strip(" `").split() for row in rows}


def test_nothing_is_queued_where_nobody_listens(
    run, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks() as callbacks:
        signals.tell_run_finished(run)
    assert callbacks == []


@pytest.mark.django_db(transaction=True)
def test_receivers_run_after_the_commit_on_a_thread_of_their_own(run, told):
    threads, done = [], threading.Event()

    def act():
        # The row is there for another connection: it is committed.
        threads.append((threading.current_thread(), AgentRun.objects.count()))
        done.set()

    told(signals.run_finished, act)
    with transaction.atomic():
        signals.tell_run_finished(run)
        assert not done.wait(0.2)
    assert done.wait(5)
    [(thread, rows)] = threads
    assert thread is not threading.current_thread()
    assert rows == 1


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_event_is_not_told(run, told):
    calls = told(signals.run_finished)
    with signals.synchronous():
        try:
            with transaction.atomic():
                signals.tell_run_finished(run)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    assert calls == []


@pytest.mark.django_db(transaction=True)
def test_what_a_receiver_raises_harms_nobody(run, told, caplog):
    def act():
        raise ZeroDivisionError

    told(signals.run_finished, act)
    calls = told(signals.run_finished)
    with signals.synchronous():
        signals.tell_run_finished(run)
    assert len(calls) == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_slow_receivers_hold_up_a_bounded_number(run, told, monkeypatch, caplog):
    monkeypatch.setattr(signals, "MOST_WAITING", 3)
    begun, go_on = threading.Event(), threading.Event()

    def act():
        begun.set()
        go_on.wait(10)

    calls = told(signals.run_finished, act)
    for _ in range(5):
        signals.tell_run_finished(run)
    assert begun.wait(5)
    assert caplog.text.count("a signal was dropped") == 2
    ended = threading.Event()
    go_on.set()
    told(signals.run_started, ended.set)
    for _ in range(100):
        signals.tell_run_started(run, 1)
        if ended.wait(0.05):
            break
    assert len(calls) == 3


@pytest.mark.django_db(transaction=True)
def test_a_failed_delivery_is_told(run, told):
    from platforms import outbox
    from tests.factories import BotFactory

    bot = BotFactory.create(workspace=run.workspace, adapter="no-such-platform")
    AgentRun.objects.update(bot_id=bot.public_id)
    ledger.complete(ledger.begin(run), "hello", publish=False)
    calls = told(signals.delivery_failed)
    with signals.synchronous():
        outbox.deliver(Delivery.objects.get().pk)
    [(_, arguments)] = calls
    assert arguments["run_id"] == run.public_id
    assert arguments["status"] == "failed"
    assert "not installed" in arguments["reason"]
