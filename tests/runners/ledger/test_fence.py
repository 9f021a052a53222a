"""Only the holder of a claim writes, and the numbers it gets have no hole."""

import random
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from langbot.lib.models import AppendOnlyError
from runners.admission import Incoming, admit
from runners.choices import RunStatus
from runners.ledger.batches import Batch, Ending, end_run, write_batches
from runners.ledger.claims import Claim, adopt_runs, claim_runs, start_node
from runners.ledger.fence import NewEvent
from runners.ledger.finishing import Reply
from runners.models import AgentRun, EventLog, QueuedMessage, RunEvent, WorkerNode

ROUNDS = 20


def queued_run(agent, conversation=""):
    admitted = admit(
        Incoming(
            workspace=agent.workspace,
            source="test:1",
            event_id=str(uuid4()),
            type="message.received",
            trigger_source="api",
            agent=agent,
            external_conversation=conversation or str(uuid4()),
            input={"text": "hello"},
        )
    )
    return admitted.run


def claim_of(run):
    return Claim(
        run_id=run.pk,
        connection_id=uuid4(),
        web_node="node",
        runner_id=run.runner_id,
        deadline_at=datetime.now(UTC) + timedelta(minutes=5),
        snapshot={"agent": {"version": 1}, "delivery_policy": {"reply": True}},
        invocation=1,
    )


def running(agent):
    run = queued_run(agent)
    claimed = claim_runs(uuid4(), [claim_of(run)])[run.pk]
    return AgentRun.objects.get(pk=claimed.run_id), claimed.token


def deltas(run, token, count=1, **more):
    events = [NewEvent("message.delta", {"text": "x"}) for _ in range(count)]
    return Batch(run.pk, run.conversation_id, token, events, **more)


def seqs(run):
    rows = RunEvent.objects.filter(run=run).order_by("seq")
    return list(rows.values_list("seq", flat=True))


def in_threads(*functions):
    outcomes = []
    barrier = threading.Barrier(len(functions))

    def call(function):
        barrier.wait()
        try:
            outcomes.append(function())
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(one,)) for one in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_a_batch_continues_the_sequence(agent):
    run, token = running(agent)
    first = write_batches([deltas(run, token, 3, cursor="5-0", runner_sequence=3)])
    second = write_batches([deltas(run, token, 2)])
    assert (first.last_seq[run.pk], second.last_seq[run.pk]) == (5, 7)
    assert seqs(run) == [1, 2, 3, 4, 5, 6, 7]
    run.refresh_from_db()
    assert (run.inbound_cursor, run.last_runner_sequence) == ("5-0", 3)


def test_one_stale_writer_costs_its_neighbours_nothing(agent):
    stale, token = running(agent)
    fresh, fresh_token = running(agent)
    AgentRun.objects.filter(pk=stale.pk).update(fencing_token=token + 1)
    written = write_batches([deltas(stale, token, 2), deltas(fresh, fresh_token, 2)])
    assert set(written.last_seq) == {fresh.pk}
    assert seqs(stale) == [1, 2]
    assert seqs(fresh) == [1, 2, 3, 4]


def test_nothing_is_written_after_the_end(agent):
    run, token = running(agent)
    ending = Ending(RunStatus.COMPLETED, reply=Reply("done"))
    batch = deltas(run, token)
    batch.ending = ending
    batch.events.append(ending.event())
    assert write_batches([batch]).last_seq == {run.pk: 4}
    assert write_batches([deltas(run, token)]).last_seq == {}
    assert end_run(run.pk, run.conversation_id, Ending(RunStatus.FAILED)) is None
    run.refresh_from_db()
    assert run.status == RunStatus.COMPLETED
    assert run.finished_at is not None
    assert [row.text for row in run.transcript.order_by("seq")] == ["hello", "done"]


@pytest.mark.django_db(transaction=True)
def test_of_two_endings_one_wins(agent):
    for _ in range(ROUNDS):
        run, token = running(agent)

        def complete(run=run, token=token):
            ending = Ending(RunStatus.COMPLETED, reply=Reply("done"))
            batch = Batch(
                run.pk, run.conversation_id, token, [ending.event()], ending=ending
            )
            return bool(write_batches([batch]).last_seq)

        def cancel(run=run):
            ending = Ending(RunStatus.CANCELLED, "cancelled", "cancelled")
            return end_run(run.pk, run.conversation_id, ending) is not None

        assert sorted(in_threads(complete, cancel)) == [False, True]
        kinds = list(RunEvent.objects.filter(run=run).values_list("type", flat=True))
        ends = [kind for kind in kinds if kind in {"run.completed", "run.failed"}]
        assert len(ends) == 1
        assert seqs(run) == [1, 2, 3]


@pytest.mark.django_db(transaction=True)
def test_of_many_claims_one_wins(agent):
    for _ in range(ROUNDS):
        run = queued_run(agent)
        claims = [
            lambda run=run: bool(claim_runs(uuid4(), [claim_of(run)])) for _ in range(4)
        ]
        assert sum(in_threads(*claims)) == 1
        run.refresh_from_db()
        assert (run.fencing_token, run.last_seq) == (1, 2)


def test_a_claim_of_an_earlier_invocation_is_lost(agent):
    """Its worker slept since it read the run, which was paused meanwhile."""
    run = queued_run(agent)
    claim = claim_of(run)
    AgentRun.objects.filter(pk=run.pk).update(invocation=2)
    assert not claim_runs(uuid4(), [claim])
    assert AgentRun.objects.get(pk=run.pk).status == RunStatus.QUEUED


@pytest.mark.django_db(transaction=True)
def test_of_many_adopters_one_wins_and_the_owner_is_fenced_off(agent):
    nodes = [start_node(f"adopter {number}").public_id for number in range(3)]
    for _ in range(ROUNDS):
        run, token = running(agent)
        adoptions = [
            lambda node=node, pk=run.pk: adopt_runs([pk], node) for node in nodes
        ]
        won = [one for adopted in in_threads(*adoptions) for one in adopted]
        assert len(won) == 1
        assert write_batches([deltas(run, token)]).last_seq == {}
        assert write_batches([deltas(run, won[0].token)]).last_seq == {run.pk: 4}


def test_a_live_worker_keeps_its_runs(agent):
    node = start_node("alive").public_id
    run = queued_run(agent)
    claim_runs(node, [claim_of(run)])
    assert adopt_runs([run.pk], uuid4()) == []
    silent = datetime.now(UTC) - timedelta(seconds=7)
    WorkerNode.objects.filter(public_id=node).update(heartbeat_at=silent)
    assert len(adopt_runs([run.pk], uuid4())) == 1


def test_the_database_refuses_a_second_live_run(agent):
    run = queued_run(agent)
    with pytest.raises(IntegrityError), transaction.atomic():
        AgentRun.objects.create(
            workspace=run.workspace,
            conversation=run.conversation,
            event=run.event,
            agent=agent,
            attempt=2,
            runner_id=agent.runner_id,
            status=RunStatus.QUEUED,
        )


def test_logs_are_append_only(agent):
    run = queued_run(agent)
    with pytest.raises(AppendOnlyError):
        run.event.save()
    with pytest.raises(AppendOnlyError):
        RunEvent.objects.filter(run=run).update(type="warning")
    with pytest.raises(AppendOnlyError):
        EventLog.objects.all().delete()
    assert RunEvent.objects.filter(run=run).purge() == 1


def test_a_fenced_off_ending_promotes_nothing(agent):
    run, token = running(agent)
    room = run.conversation
    AgentRun.objects.filter(pk=run.pk).update(fencing_token=token + 1)
    QueuedMessage.objects.create(conversation=room, event=run.event, agent=agent)
    ending = Ending(RunStatus.COMPLETED, reply=Reply("stale"))
    stale = Batch(run.pk, room.pk, token, [ending.event()], ending=ending)
    fresh, fresh_token = running(agent)
    written = write_batches([stale, deltas(fresh, fresh_token)])
    assert (set(written.last_seq), written.promoted) == ({fresh.pk}, [])


@pytest.mark.django_db(transaction=True)
def test_writers_of_overlapping_sets_never_wait_for_each_other_in_a_ring(agent):
    """PostgreSQL ends one of two that do; SQLite has one writer."""
    held = [running(agent) for _ in range(20)]
    rounds = 60 if connection.vendor == "postgresql" else 5

    def write(seed):
        chosen = random.Random(seed)  # noqa: S311  an order, no secret
        for _ in range(rounds):
            some = chosen.sample(held, 15)
            write_batches([deltas(run, token) for run, token in some])
        return rounds

    assert in_threads(*(partial(write, seed) for seed in range(3))) == [rounds] * 3
    for run, _token in held:
        run.refresh_from_db()
        assert seqs(run) == list(range(1, run.last_seq + 1))
