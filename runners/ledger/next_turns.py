"""Which waiting messages the next turn of a conversation takes up, and opening it.

Messages are answered in the order of their arrival. One that stops the run before it
(`interrupt`, `rollback`) is to be answered next, so what was said before it and is
not answered yet goes into its turn, in front of it (AG-10, AG-11): as if every stop
took no time, whenever the stopped run really ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile

from django.utils.translation import gettext as _

from runners.choices import STOPPING, QueuedStatus, QueueMode
from runners.ledger.conversations import Conversation, QueuedMessage
from runners.ledger.runs import AgentRun
from runners.ledger.steering import announce_waiting
from runners.ledger.turns import Turn, is_message, open_turn


@dataclass(slots=True)
class NextTurn:
    """The message that begins the next turn, and what happens to others before it."""

    opener: QueuedMessage
    before: list[QueuedMessage] = field(default_factory=list)
    forgotten: list[QueuedMessage] = field(default_factory=list)

    @property
    def taken(self) -> set[int]:
        """The keys of all messages that wait no longer."""
        return {one.pk for one in (self.opener, *self.before, *self.forgotten)}


def next_turn(waiting: Sequence[QueuedMessage]) -> NextTurn:
    """Say what the next turn is made of; `waiting` is not empty and in order.

    Only messages to one agent share a turn: another agent's are answered before.
    """
    turn: list[QueuedMessage] = []
    behind: list[QueuedMessage] = []
    forgotten: list[QueuedMessage] = []
    for message in takewhile(lambda one: _may_share(waiting[0], one), waiting):
        if message.mode not in STOPPING:
            behind.append(message)
            continue
        if message.mode == QueueMode.ROLLBACK:
            forgotten += turn
            turn = []
        turn += [*behind, message]
        behind = []
    *before, opener = turn or behind[:1] or waiting[:1]
    return NextTurn(opener, before, forgotten)


def is_rolled_back(run_id: int, waiting: Iterable[QueuedMessage]) -> bool:
    """Whether a waiting message wants the turn of this run to be forgotten."""
    return any(
        message.mode == QueueMode.ROLLBACK and message.meets == run_id
        for message in waiting
    )


def by_conversation(
    waiting: Iterable[QueuedMessage],
) -> dict[int, list[QueuedMessage]]:
    """Return waiting messages by the key of their conversation, in their order."""
    found: dict[int, list[QueuedMessage]] = {}
    for message in waiting:
        found.setdefault(message.conversation_id, []).append(message)
    return found


def open_next_turns(
    conversations: Mapping[int, Conversation],
    waiting: Mapping[int, Sequence[QueuedMessage]],
) -> list[int]:
    """Open the next turn of each conversation where messages wait; their run ids.

    The conversations' rows must be locked and without a live run.
    """
    return [
        _open(conversations[conversation_id], messages).pk
        for conversation_id, messages in waiting.items()
    ]


def _open(conversation: Conversation, waiting: Sequence[QueuedMessage]) -> AgentRun:
    turn = next_turn(waiting)
    opener, said_before = turn.opener, [one.event for one in turn.before]
    run = open_turn(
        conversation,
        Turn(
            opener.event,
            opener.agent,
            opener.binding,
            dry_run=opener.dry_run,
            said_before=said_before,
        ),
    )
    _settle([opener], QueuedStatus.PROMOTED, run)
    _settle(turn.before, QueuedStatus.INJECTED, run)
    _settle(turn.forgotten, QueuedStatus.CANCELLED, None, _("rolled back"))
    taken = turn.taken
    announce_waiting(run, [one for one in waiting if one.pk not in taken])
    return run


def _settle(
    messages: Sequence[QueuedMessage],
    status: QueuedStatus,
    run: AgentRun | None,
    reason: str = "",
) -> None:
    if messages:
        keys = [message.pk for message in messages]
        QueuedMessage.objects.filter(pk__in=keys).update(
            status=status, run=run, reason=reason, ended_at=datetime.now(UTC)
        )


def _may_share(first: QueuedMessage, other: QueuedMessage) -> bool:
    return (
        other.agent_id == first.agent_id
        and other.dry_run == first.dry_run
        and is_message(other.event)
    )
