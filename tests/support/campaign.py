"""Runs in flight while workers die, and the proof that nothing was lost or doubled.

Each run calls a tool in each of its steps and answers at a webhook that deduplicates.
Some conversations get their next message while the one before is being answered.
"""
# ruff: noqa: S311 - random times, no secrets

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db import connection
from django.db.models.functions import Now

from agents.models import Agent
from langbot.core.models import Workspace
from langbot.lib.conf import limits
from platforms.models import Bot
from runners.admission import Admitted, BotRef, Incoming, admit
from runners.choices import TERMINAL, DeliveryStatus, RunStatus
from runners.models import AgentRun, Delivery, EventLog, TranscriptItem, WorkerNode
from tests.platforms.receiver import Receiver
from tests.support.cluster import Cluster, HostProcess, wait_until
from tests.support.counting_tool import executions
from tests.support.load import broken_ledgers
from tests.support.sdk_runners import worked_text

T = TypeVar("T")

# Who is awake is done with a statement by then, or waits for who is not.
_IN_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND xact_start IS NOT NULL AND state_change < clock_timestamp() - interval '0.3 s'
"""
GRACE_SECONDS = 15.0  # beyond the lease, for what is not adopted


@dataclass
class Loss:
    """A worker's death, and the runs that it carried then."""

    at: datetime
    node: UUID
    runs: list[int]


@dataclass
class Campaign:
    """Keeps `in_flight` conversations busy and remembers what each has to answer."""

    cluster: Cluster
    agent: Agent
    bot: Bot
    receiver: Receiver
    marks: Path
    in_flight: int = 20
    steps: int = 8
    seconds: tuple[float, float] = (5.0, 10.0)
    expected: dict[int, str] = field(default_factory=dict)  # by event
    losses: list[Loss] = field(default_factory=list)

    # Load

    def top_up(self) -> None:
        """Send until enough runs are live; every fourth message follows another."""
        mine = AgentRun.objects.filter(event__in=self.expected)
        missing = self.in_flight - mine.exclude(status__in=TERMINAL).count()
        for _ in range(missing):
            place = str(uuid4())
            for _message in range(random.choice([1, 1, 1, 2])):
                self.send(place)

    def send(self, place: str) -> Admitted:
        """Admit one message of a place and remember its answer."""
        word = f"w{len(self.expected)}"
        text = f"{self.steps} {random.uniform(*self.seconds):.2f} {word}"
        admitted = admit(
            Incoming(
                workspace=Workspace.objects.get(pk=self.agent.workspace_id),
                source=f"bot:{self.bot.public_id}",
                event_id=str(uuid4()),
                type="message.received",
                trigger_source="platform",
                bot=BotRef(self.bot.public_id, self.bot.slug),
                agent=self.agent,
                external_conversation=place,
                input={"text": text},
            )
        )
        self.expected[admitted.event.pk] = worked_text(text)
        return admitted

    # Deaths

    def lose_worker(self, end: Callable[[HostProcess], T]) -> T:
        """End a worker in some way, note what it carried, return what `end` does."""
        worker = random.choice(self.carrying())
        node = node_of(worker).public_id
        before = carried_by(node)
        ended = end(worker)
        carried = AgentRun.objects.filter(pk__in=before | carried_by(node))
        open_runs = carried.exclude(status__in=TERMINAL)
        runs = list(open_runs.values_list("pk", flat=True))
        self.losses.append(Loss(database_now(), node, runs))
        return ended

    def carrying(self) -> list[HostProcess]:
        """Return the workers that are up."""
        alive = [one for one in self.cluster.workers if one.is_running]
        return [one for one in alive if registered(one)]

    def is_adopted(self) -> bool:
        """Say whether nothing runs any more on the worker that was lost last."""
        lost = self.losses[-1].node
        return not AgentRun.objects.running().filter(node=lost).exists()

    def kill_and_replace(self) -> None:
        """Kill a worker at a random point; two are up again when this returns."""
        time.sleep(random.uniform(0, 1.5))
        self.lose_worker(HostProcess.kill)
        worker = self.cluster.start_worker()
        wait_until(partial(registered, worker), "a worker is up again")

    # Proof

    def wait(self, seconds: float) -> float:
        """Wait until every message was answered and every answer delivered."""
        return wait_until(lambda: not self._open(), "all is answered", seconds)

    def _open(self) -> bool:
        events = set(self.expected)
        ended = AgentRun.objects.filter(event__in=events, status__in=TERMINAL)
        waiting = Delivery.objects.exclude(status=DeliveryStatus.DELIVERED)
        return ended.count() < len(events) or waiting.exists()

    def runs(self) -> Any:
        return AgentRun.objects.filter(event__in=self.expected)

    def statuses(self) -> Counter[str]:
        rows = self.runs().values_list("status", "error_code")
        return Counter(f"{status} {code}".strip() for status, code in rows)

    def survived(self) -> tuple[int, int]:
        """Return how many of the lost workers' runs came through whole, of how many."""
        whole = self._whole()
        pairs = [run for loss in self.losses for run in loss.runs]
        return sum(run in whole for run in pairs), len(pairs)

    def _whole(self) -> set[int]:
        said = TranscriptItem.objects.filter(run__event__in=self.expected)
        rows = said.filter(role="assistant", run__status=RunStatus.COMPLETED)
        return {
            run
            for run, event, text in rows.values_list("run", "run__event_id", "text")
            if text == self.expected[int(event)]
        }

    def problems(self) -> list[str]:
        """Return everything that must not be; empty when the campaign held."""
        return [
            *(f"unanswered message: {pk}" for pk in self._unanswered()),
            *(f"ledger {one}" for one in broken_ledgers(self._ids())),
            *(f"executed {n} times: {call}" for call, n in self._executed_twice()),
            *(f"ended late or without a reason: {one}" for one in self._unreasonable()),
            *(f"not whole: {pk}" for pk in self._torn()),
            *(f"delivered wrongly: {one}" for one in self._delivered_wrongly()),
        ]

    def _ids(self) -> list[int]:
        return list(self.runs().values_list("pk", flat=True))

    def _unanswered(self) -> set[int]:
        answered = self.runs().filter(status__in=TERMINAL)
        return set(self.expected) - set(answered.values_list("event", flat=True))

    def _executed_twice(self) -> list[tuple[str, int]]:
        return [(one, n) for one, n in executions(self.marks).items() if n > 1]

    def _unreasonable(self) -> list[str]:
        last = {run: loss.at for loss in self.losses for run in loss.runs}
        allowed = timedelta(seconds=limits().node_dead_seconds + GRACE_SECONDS)
        rows = self.runs().exclude(status=RunStatus.COMPLETED)
        return [
            f"{run.pk} {run.status} {run.error_code} {run.status_reason}"
            for run in rows
            if not (run.error_code and run.status_reason)
            or (run.pk in last and run.finished_at - last[run.pk] > allowed)
        ]

    def _torn(self) -> set[int]:
        completed = self.runs().filter(status=RunStatus.COMPLETED)
        return set(completed.values_list("pk", flat=True)) - self._whole()

    def _delivered_wrongly(self) -> list[str]:
        """Compare what the target kept, one message per `webhook-id`, with the runs."""
        kept = {
            call["headers"]["webhook-id"]: call["body"] for call in self.receiver.calls
        }
        got = Counter((body["run_id"], body["text"]) for body in kept.values())
        rows = self.runs().filter(status=RunStatus.COMPLETED)
        wanted = {
            (str(run), self.expected[event])
            for run, event in rows.values_list("public_id", "event")
        }
        completed = {run for run, _ in wanted}
        extra = {key for key in got if key[0] in completed} - wanted
        wrong = [f"{key} {got[key]} times" for key in wanted if got[key] != 1]
        return [*wrong, *(f"{key} was not asked for" for key in extra)]

    def disordered(self) -> list[int]:
        """Return the conversations whose messages were not answered in order."""
        rows = self.runs().order_by("conversation", "pk")
        pairs = rows.values_list("conversation", "event")
        found: dict[int, list[int]] = {}
        for place, event in pairs:
            found.setdefault(place, []).append(event)
        return [place for place, events in found.items() if events != sorted(events)]


def put_to_sleep(worker: HostProcess) -> HostProcess:
    """Suspend a worker that is in no transaction; its locks would stop everybody."""
    worker.suspend()
    while not database_is_free():
        worker.resume()
        time.sleep(random.uniform(0.01, 0.1))
        worker.suspend()
    return worker


def database_is_free() -> bool:
    """Say whether nobody sits in a transaction."""
    if connection.vendor == "postgresql":
        time.sleep(0.4)  # a statement that was sent goes on, and its session waits then
        with connection.cursor() as cursor:
            cursor.execute(_IN_TRANSACTION)
            return bool(cursor.fetchone() == (0,))
    try:
        with closing(sqlite3.connect(connection.settings_dict["NAME"], 1)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def node_of(worker: HostProcess) -> WorkerNode:
    """Return the row of a worker process."""
    return WorkerNode.objects.get(name__endswith=f":{worker.pid}")


def carried_by(node: UUID) -> set[int]:
    """Return the runs that the ledger says a worker carries."""
    return set(
        AgentRun.objects.running().filter(node=node).values_list("pk", flat=True)
    )


def registered(worker: HostProcess) -> bool:
    """Say whether a worker process claims and adopts."""
    return WorkerNode.objects.filter(name__endswith=f":{worker.pid}").exists()


def database_now() -> datetime:
    """Return the time by the database's clock, which leases are measured by."""
    (now,) = EventLog.objects.annotate(now=Now()).values_list("now", flat=True)[:1]
    return now
