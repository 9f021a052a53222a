"""What became of the messages of one conversation: nothing lost, in order, once."""

from collections.abc import Sequence

from runners.admission import Admitted
from runners.choices import QueuedStatus
from runners.models import AgentRun, QueuedMessage, TranscriptItem
from tests.support.load import broken_ledgers


def check_outcomes(strategy: str, accepted: Sequence[tuple[str, Admitted]]) -> None:
    """Assert that each accepted message, in order, has its outcome and its place.

    `accepted` are texts with what admission said; no text twice. Everything has ended.
    """
    room = accepted[0][1].conversation
    assert room is not None
    assert not QueuedMessage.objects.waiting().filter(conversation=room).exists()
    runs = AgentRun.objects.filter(conversation=room)
    assert broken_ledgers(list(runs.values_list("pk", flat=True))) == []
    assert {run.status for run in runs} <= _allowed(strategy)
    gone = _forgotten([one for _, one in accepted])
    assert not gone or strategy == "rollback"
    rows = TranscriptItem.objects.filter(conversation=room, role="user")
    written = [row.text for row in rows.order_by("seq")]
    assert written == [text for text, one in accepted if one.event.pk not in gone]
    last = AgentRun.objects.get(event=accepted[-1][1].event)
    assert last.status == "completed"
    if strategy == "rollback":
        stopped = runs.filter(status="cancelled")
        assert not TranscriptItem.objects.current().filter(run__in=stopped).exists()


def _allowed(strategy: str) -> set[str]:
    stops = strategy in {"interrupt", "rollback"}
    return {"completed", "cancelled"} if stops else {"completed"}


def _forgotten(accepted: Sequence[Admitted]) -> set[int]:
    """Return the events that a later message rolled back before their turn."""
    messages = QueuedMessage.objects.filter(
        event__in=[one.event for one in accepted], status=QueuedStatus.CANCELLED
    )
    return set(messages.values_list("event_id", flat=True))
