"""Where a run's ledger stands; asked only to recover."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runners.choices import TERMINAL, EventType
from runners.ledger.pausing import EARLIER
from runners.models import AgentRun, RunEvent


def last_seqs(tokens: Mapping[int, int | None]) -> dict[int, int]:
    """Return the committed `last_seq` of the runs that still have their token."""
    rows = AgentRun.objects.filter(pk__in=tokens)
    return {
        pk: last_seq
        for pk, token, last_seq in rows.values_list("pk", "fencing_token", "last_seq")
        if token == tokens[pk]
    }


def seq_of(run_id: int, after: int, kind: str, created_at: datetime) -> int:
    """Return the number of an event of this very moment, 0 without one.

    It is looked for after the number `after`; others add to a run's ledger, too.
    """
    later = RunEvent.objects.filter(run=run_id, seq__gt=after)
    found = later.filter(type=kind, created_at=created_at)
    return found.values_list("seq", flat=True).first() or 0


@dataclass(slots=True)
class RunOutput:
    """The open message's text, the finished messages and the files of an invocation."""

    text: str = ""
    messages: list[tuple[str, Any]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)  # by the runner itself, meanwhile
    files: list[dict[str, Any]] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)  # blocks of thinking

    @property
    def before(self) -> tuple[list[tuple[str, Any]], list[str], list[str]]:
        """What `RunMessages.resume` takes."""
        return self.messages, self.sent, self.thoughts

    def add(self, event: RunEvent) -> None:
        """Take the next delta, message or file of the ledger."""
        if event.type == EventType.MESSAGE_DELTA:
            self.text += event.data["text"]
            return
        if event.type == EventType.REASONING_DELTA:
            self._think(event.data)
            return
        if event.type == EventType.ARTIFACT_CREATED:
            self.files.append(event.data)
            return
        if event.data.get("delivered"):
            self.sent.append(event.data["text"])
            return
        content = event.data["message"]["content"]
        parts = content if isinstance(content, list) else None
        self.messages.append((event.data["text"], parts))
        self.text = ""

    def _think(self, data: dict[str, Any]) -> None:
        if data.get("block", 1) > len(self.thoughts):
            self.thoughts.append("")
        self.thoughts[-1] += data["text"]


def run_outputs(runs: Iterable[AgentRun]) -> dict[int, RunOutput]:
    """Return what the current invocation of each run has said so far.

    A run that goes on after a pause has said what it had before, too.
    """
    invocations = {
        run.pk: {run.invocation, *(run.snapshot or {}).get(EARLIER, ())} for run in runs
    }
    outputs = {pk: RunOutput() for pk in invocations}
    events = RunEvent.objects.filter(
        run__in=invocations,
        type__in=[
            EventType.MESSAGE_DELTA,
            EventType.MESSAGE_COMPLETED,
            EventType.REASONING_DELTA,
            EventType.ARTIFACT_CREATED,
        ],
    )
    for event in events.order_by("run", "seq"):
        if event.invocation in invocations[event.run_id]:
            outputs[event.run_id].add(event)
    return outputs


def ended_among(run_ids: Iterable[int]) -> set[int]:
    """Return which of the runs have ended."""
    ended = AgentRun.objects.filter(pk__in=list(run_ids), status__in=TERMINAL)
    return set(ended.values_list("pk", flat=True))
