"""Messages that reach a run while it works, instead of waiting for its end (LB-82).

A follow-up of the run's conversation waits as a QueuedMessage. A runner that can be
steered pulls it at a boundary of its turns: the message then belongs to the running
turn and begins none of its own. What nobody pulls is promoted at the run's end, as
ever; nothing is dropped. A turn that is answered anew gets again what joined it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from typing import Any

from langbot.lib.models import lock_rows
from runners.choices import QueuedStatus, QueueMode
from runners.ledger.steering import announce_waiting, may_reach
from runners.ledger.turn_rows import calls_tools, turn_items
from runners.ledger.turns import append_transcripts, user_item
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage

PULLED_AT_MOST = 100  # LB-74, LB-83


def claim_messages(run_id: int, maximum: int) -> dict[str, Any]:
    """Give waiting messages to a run, in their order; returns `{"messages": [key]}`.

    An effect for `journal.once`, which looks whether the run is running. A message for
    another agent, and all that waits behind it, keeps its place: order holds.
    """
    run = AgentRun.objects.defer("snapshot").get(pk=run_id)
    waiting = QueuedMessage.objects.waiting().filter(conversation=run.conversation_id)
    if run.cancel_requested_at is not None or not waiting.exists():
        return {"messages": []}  # a run that is being stopped answers nothing more
    conversation = lock_rows(Conversation.objects.filter(pk=run.conversation_id))[0]
    claimed = _steerable(run, maximum)
    now = datetime.now(UTC)
    QueuedMessage.objects.filter(pk__in=[message.pk for message in claimed]).update(
        status=QueuedStatus.INJECTED, run=run, ended_at=now
    )
    if claimed:
        # Behind the answers of the tools that it was delivered with (AG-14).
        said = [user_item(message.event, run) for message in claimed]
        before = turn_items(run, with_tools=calls_tools(run))
        items = [*before, *said]
        append_transcripts([(conversation, item) for item in items])
    return {"messages": [message.pk for message in claimed]}


def wait_again(run: AgentRun, said: Sequence[EventLog]) -> None:
    """Have messages wait for the next attempt at the turn that they once joined.

    It pulls them, or they are answered after it. In a transaction; the conversation's
    row must be locked, and nothing wait in it.
    """
    values = {
        "conversation_id": run.conversation_id,
        "agent_id": run.agent_id,
        "binding_id": run.binding_id,
        "dry_run": run.dry_run,
        "mode": QueueMode.ENQUEUE,
        "status": QueuedStatus.QUEUED,
        "meets": None,
        "run": None,
        "ended_at": None,
    }
    # Retention may have removed the row of a message that stands in the transcript.
    waiting = [
        QueuedMessage.objects.update_or_create(values, event=event)[0] for event in said
    ]
    announce_waiting(run, waiting)


def anything_waits(conversation_id: int) -> bool:
    """Whether a message waits in a conversation, for whomever."""
    waiting = QueuedMessage.objects.waiting().filter(conversation=conversation_id)
    return waiting.exists()


def claimed_messages(keys: list[int]) -> list[QueuedMessage]:
    """Return claimed messages with what is told of them, in the order of claiming."""
    rows = QueuedMessage.objects.filter(pk__in=keys).select_related(
        "event", "conversation__workspace", "run"
    )
    return list(rows.order_by("pk"))


def _steerable(run: AgentRun, maximum: int) -> list[QueuedMessage]:
    waiting = QueuedMessage.objects.waiting().filter(conversation=run.conversation_id)
    first = waiting.select_related("event").order_by("pk")
    found = first[: min(maximum, PULLED_AT_MOST)]
    return list(takewhile(partial(may_reach, run), found))
