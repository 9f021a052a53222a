"""A day of runs that never happened, for pages that show many."""

import random
from datetime import UTC, datetime, timedelta
from unittest import mock
from uuid import UUID

RUNS = 240
_QUESTIONS = (
    "When do you open on Saturday?",
    "How much is a new chain with fitting?",
    "Can I bring my bike in tomorrow?",
    "I would like to return the blue helmet.",
    "Do you repair electric bikes too?",
)


def make_a_day(agents: list[str]) -> int:
    """Make ended runs of the last 24 hours; called inside the host."""
    from agents.models import Agent

    chance = random.Random(7)  # noqa: S311 - the same picture each time
    rows = list(Agent.objects.filter(slug__in=agents))
    hours = sorted((24 * chance.random() ** 1.3 for _ in range(RUNS)), reverse=True)
    for number in hours:
        _make_run(chance, chance.choice(rows), timedelta(hours=number))
    return len(hours)


def _make_run(chance, agent, ago):
    from runners.models import AgentRun
    from tests.runners.admin_rows import make_run

    status = chance.choices(("completed", "failed", "cancelled"), (93, 5, 2))[0]
    began = datetime.now(UTC) - ago
    fields = {"text": chance.choice(_QUESTIONS), "public_id": _id_of(began, chance)}
    with mock.patch("django.utils.timezone.now", return_value=began):
        run = make_run(agent, status=status, **fields)
    AgentRun.objects.filter(pk=run.pk).update(
        queued_at=began,
        started_at=began + timedelta(milliseconds=20),
        finished_at=began + timedelta(seconds=chance.lognormvariate(0.6, 0.7)),
        error_code="runner.model_error" if status == "failed" else "",
    )


def _id_of(moment, chance):
    """Return a UUIDv7 as it would have been made then."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(62))
