"""Many runs at once: admitting them, waiting for them, and proving their ledgers."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from uuid import uuid4

from django.db.models import Count, Max, Min, Q

from agents.models import Agent
from langbot.core.models import Workspace
from runners.admission import Admitted, Incoming, admit
from runners.choices import ENDS, TERMINAL, EventType
from runners.models import AgentRun, RunEvent, TranscriptItem


def send(agent: Agent, text: str, *, conversation: str = "") -> Admitted:
    """Admit one message; without a conversation it gets one of its own."""
    incoming = Incoming(
        workspace=Workspace.objects.get(pk=agent.workspace_id),
        source="api:tests",
        event_id=str(uuid4()),
        type="message.received",
        trigger_source="api",
        agent=agent,
        external_conversation=conversation or str(uuid4()),
        input={"text": text},
    )
    return admit(incoming)


@dataclass
class Load:
    """Runs that were admitted, by id, and what each must answer."""

    expected: dict[int, str] = field(default_factory=dict)
    slowest_admit: float = 0.0

    def send(self, agent: Agent, text: str, answer: str) -> AgentRun:
        begun = time.monotonic()
        run = send(agent, text).run
        assert run is not None
        self.slowest_admit = max(self.slowest_admit, time.monotonic() - begun)
        self.expected[run.pk] = answer
        return run

    @property
    def ids(self) -> list[int]:
        return list(self.expected)

    def statuses(self) -> Counter[str]:
        """Count the runs by status, with the error code of those that failed."""
        rows = AgentRun.objects.filter(pk__in=self.ids)
        return Counter(
            f"{status} {code}".strip()
            for status, code in rows.values_list("status", "error_code")
        )

    def wait(self, seconds: float) -> float:
        """Wait until all ended; returns the seconds. Raises TimeoutError."""
        return wait_for_status(self, TERMINAL, seconds)

    def wrong_answers(self) -> list[tuple[str, str]]:
        """Return (expected, said), from where they differ, of the completed runs."""
        rows = TranscriptItem.objects.filter(
            run__in=self.ids, run__status="completed", role="assistant"
        )
        said = dict(rows.values_list("run_id", "text"))
        completed = AgentRun.objects.filter(pk__in=self.ids, status="completed")
        return [
            differing(self.expected[pk], said.get(pk, "(nothing)"))
            for pk in completed.values_list("pk", flat=True)
            if said.get(pk) != self.expected[pk]
        ]

    def adopted(self) -> int:
        """Return how many of the runs changed their worker."""
        events = RunEvent.objects.filter(run__in=self.ids, type=EventType.RUN_ADOPTED)
        return events.values("run").distinct().count()


def differing(expected: str, said: str) -> tuple[str, str]:
    """Return both texts without what they begin with in common."""
    pairs = enumerate(zip_longest(expected, said))
    start = next((place for place, (one, other) in pairs if one != other), 0)
    return expected[start:], said[start:]


def wait_for_status(load: Load, statuses: Iterable[str], seconds: float) -> float:
    """Wait until every run is in one of the statuses; returns the seconds."""
    begun = time.monotonic()
    wanted = list(statuses)
    while True:
        rows = AgentRun.objects.filter(pk__in=load.ids)
        if not rows.exclude(status__in=wanted).exists():
            return time.monotonic() - begun
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"after {seconds:g} s: {load.statuses()}")
        time.sleep(0.2)


def broken_ledgers(run_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Return the ended runs whose ledger has a gap or not exactly one end, and why."""
    ends = Q(events__type__in=list(ENDS))
    rows = AgentRun.objects.filter(pk__in=run_ids).annotate(
        found=Count("events"),
        first=Min("events__seq"),
        last=Max("events__seq"),
        ends=Count("events", filter=ends),
        end=Max("events__seq", filter=ends),
    )
    seen = rows.values_list("pk", "last_seq", "found", "first", "last", "ends", "end")
    return [
        (pk, f"last_seq {last_seq}: count, first, last, ends, end {found}")
        for pk, last_seq, *found in seen
        if found != [last_seq, 1, last_seq, 1, last_seq]
    ]


def most_at_once(run_ids: Sequence[int]) -> int:
    """Return how many of the ended runs were running at the same time."""
    rows = AgentRun.objects.filter(pk__in=run_ids)
    times = rows.values_list("started_at", "finished_at")
    changes = [(start, 1) for start, _ in times] + [(end, -1) for _, end in times]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


def text_of_deltas(run: AgentRun) -> str:
    """Return what the ledger's deltas of a run add up to."""
    deltas = RunEvent.objects.filter(run=run, type=EventType.MESSAGE_DELTA)
    return "".join(event.data["text"] for event in deltas.order_by("seq"))
