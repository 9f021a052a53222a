"""Where a run's ledger stands; asked only to recover."""

from collections.abc import Iterable
from typing import Any

from runners.choices import EventType
from runners.models import AgentRun, RunEvent


def last_seqs(run_ids: Iterable[int]) -> dict[int, int]:
    """Return the committed `last_seq` of each run."""
    rows = AgentRun.objects.filter(pk__in=list(run_ids))
    return dict(rows.values_list("pk", "last_seq"))


def spoken(run: AgentRun) -> tuple[str, list[tuple[str, Any]]]:
    """Return (text of the open message, finished messages) of an invocation."""
    text, messages = "", []
    events = RunEvent.objects.filter(
        run=run,
        invocation=run.invocation,
        type__in=[EventType.MESSAGE_DELTA, EventType.MESSAGE_COMPLETED],
    ).order_by("seq")
    for event in events:
        if event.type == EventType.MESSAGE_DELTA:
            text += event.data["text"]
        else:
            content = event.data["message"]["content"]
            parts = content if isinstance(content, list) else None
            messages.append((event.data["text"], parts))
            text = ""
    return text, messages
