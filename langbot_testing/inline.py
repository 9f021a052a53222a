"""Carries runs in the test itself: the worker's ledger work without its processes.

Admission, claim, snapshot, results, finish and promotion are the real ones; only the
way to a plugin process and back is left out, and with it Redis.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import transaction

from langbot.lib.group_commit import each_thread_alone
from langbot.lib.ids import uuid7
from langbot_testing.fake_runner import FakeRunner
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts
from runners.engine.starter import prepare, queued_ids
from runners.ledger.batches import Batch, write_batches
from runners.ledger.claims import Claim, Claimed, claim_runs
from runners.signals import synchronous, tell_run_started
from runners.wakes import EXECUTE_RUNS

_NODE = uuid7()
_AT_ONCE = 100


class InlineCelery:
    """Stands for the project's Celery app: a run that is woken is carried at once."""

    sends_at_once = True  # in the thread, and so in the transaction, of the test

    def __init__(self) -> None:
        self.runner: FakeRunner | None = None

    def send_task(self, name: str, args: Any = (), **_options: Any) -> None:
        """Carry the run that this task is for; other tasks wait for ever."""
        if name == EXECUTE_RUNS and self.runner is not None:
            run_pending(self.runner)


inline_celery = InlineCelery()


@contextmanager
def carried_by(runner: FakeRunner) -> Iterator[None]:
    """Let `runner` answer every run, with signals told at the commit."""
    before, inline_celery.runner = inline_celery.runner, runner
    try:
        with synchronous(), each_thread_alone():
            yield
    finally:
        inline_celery.runner = before


def run_pending(runner: FakeRunner) -> int:
    """Carry queued runs to their end, and those that they make room for."""
    carried = 0
    while True:
        count = sum(_carry(run_id, runner) for run_id in queued_ids(_AT_ONCE))
        if not count:
            return carried
        carried += count


def _carry(run_id: int, runner: FakeRunner) -> bool:
    """Carry one run; False when it has been claimed or ended meanwhile."""
    for run, facts, request in prepare([run_id]):
        claim = Claim(
            run_id=run.pk,
            connection_id=uuid7(),
            web_node="inline",
            runner_id=facts.runner_id,
            deadline_at=facts.deadline_at or datetime.now(UTC),
            snapshot=facts.snapshot,
            invocation=run.invocation,
        )
        for claimed in claim_runs(_NODE, [claim]).values():
            tell = partial(tell_run_started, run, claimed.invocation)
            transaction.on_commit(tell)
            log = ResultLog(facts)
            _answer(log, runner, json.loads(request)["context"])
            write_batches([_batch(facts, claimed, log)])
            return True
    return False


def _answer(log: ResultLog, runner: FakeRunner, context: dict[str, Any]) -> None:
    for sequence, result in enumerate(runner.results(context), 1):
        raw = {"type": result.type, "data": result.data, "sequence": sequence}
        usage = {} if result.usage is None else {"usage": dict(result.usage)}
        log.apply({**raw, **usage, "run_id": context["run_id"]}, frame_bytes=0)
    log.end_of_stream()


def _batch(facts: RunFacts, claimed: Claimed, log: ResultLog) -> Batch:
    ending = log.ending
    last = [ending.event(log.last_sequence)] if ending is not None else []
    return Batch(
        run_id=facts.pk,
        conversation_id=facts.conversation_id,
        token=claimed.token,
        events=[*log.events, *last],
        invocation=claimed.invocation,
        runner_sequence=log.last_sequence,
        first_output_at=log.first_output_at,
        states=log.states,
        ending=ending,
    )
