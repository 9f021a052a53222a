"""Parking a run until a person has decided, and the way back into the queue.

A parked run has no worker, no place at a plugin and no deadline: what was left of its
time is in its snapshot (C-44). Its statements are those of the fence, as for every
other change of status.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from langbot.lib.models import lock_rows
from langbot.lib.redaction import redact
from runners.choices import ActionKind, ActionStatus, EventType, RunStatus
from runners.ledger.actions import PendingAction
from runners.ledger.conversations import Conversation
from runners.ledger.fence import Fence, NewEvent, insert_events, pass_fence
from runners.ledger.journal import outcome_of
from runners.ledger.runs import AgentRun, HostCall, RunEvent
from runners.ledger.turn_rows import turn_items
from runners.ledger.turns import append_transcripts
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import Action

APPROVAL = "tool_approval"  # the `action` of an approval's events (LH-18)
QUESTION = "interaction.requested"
DECISIONS = ("approve", "reject", "edit", "respond")
SECONDS_LEFT = "seconds_left"  # in the snapshot of a paused run
EARLIER = "earlier_invocations"  # whose words belong to the reply
_CALL_ID_CHARACTERS = 180  # its column has room for them
_TOOL_NAME_CHARACTERS = 200
_UNDECIDED = (ActionStatus.EXPIRED, ActionStatus.CANCELLED)


def call_id_of(data: dict[str, Any]) -> str:
    """Return the model's name of a tool call, as far as it is kept; else empty."""
    return str(data.get("tool_call_id") or "")[:_CALL_ID_CHARACTERS]


def number_of(invocation: int, plugin_seq_id: int | None) -> str:
    """Return the name of a call whose model gave it none."""
    return f"call_{invocation}_{plugin_seq_id}"


def tool_of(action: str, data: dict[str, Any]) -> tuple[str, str]:
    """Return what the model calls a use of a tool, and the tool; else empty."""
    if action != Action.CALL_TOOL:
        return "", ""
    return call_id_of(data), str(data.get("tool_name"))[:_TOOL_NAME_CHARACTERS]


def name_of(action: PendingAction) -> str:
    """Return the name that events and signals call it by."""
    return APPROVAL if action.kind == ActionKind.APPROVAL else QUESTION


def requested(action: PendingAction) -> dict[str, Any]:
    """Return the data of an approval's `action.requested` (LH-18, LH-19)."""
    call = {
        "tool_call_id": action.tool_call_id,
        "name": action.tool_name,
        "arguments": redact(action.arguments),
    }
    review = {"tool_call_id": action.tool_call_id, "allowed_decisions": DECISIONS}
    return {
        "action": APPROVAL,
        "id": str(action.public_id),
        "reason": action.reason,
        "expires_at": action.expires_at.isoformat(),
        "action_requests": [call],
        "review_configs": [review],
    }


def described(action: PendingAction) -> dict[str, Any]:
    """Return the data of an `action.resolved`: what, by whom, and the decision."""
    given = action.decision or {}
    return {
        "action": name_of(action),
        "id": str(action.public_id),
        "tool_call_id": action.tool_call_id,
        "tool_name": action.tool_name,
        "status": str(action.status),
        "decision": given.get("decision", ""),
        "reason": given.get("reason", ""),
        "scope": given.get("scope", "once"),
        "decided_by": action.decided_by_name,
    }


def was_decided(action: PendingAction) -> bool:
    """Whether the run's ledger has the decision."""
    events = RunEvent.objects.filter(
        run=action.run_id,
        type=EventType.ACTION_RESOLVED,
        data__id=str(action.public_id),
    )
    return events.exists()


@dataclass(frozen=True, slots=True)
class Pause:
    """How a run is parked: with which snapshot it goes on."""

    snapshot: dict[str, Any]

    def columns(self) -> dict[str, Any]:
        """Return what changes in the run's row."""
        return {
            "status": RunStatus.REQUIRES_ACTION,
            "status_reason": "waiting for a person",
            "node": None,
            "connection_id": None,
            "web_node": "",
            "deadline_at": None,
            "snapshot": self.snapshot,
        }


def park(fence: Fence, pause: Pause, invocation: int) -> dict[int, int]:
    """Move a run that is still held to `requires_action`; in a transaction.

    Returns its `last_seq`, or nothing for a run that is held no more. Decisions that
    nobody has carried out are now for whoever looks after paused runs.
    """
    passed = pass_fence([fence], target=pause.columns())
    if passed:
        waiting = PendingAction.objects.filter(
            run_id=fence.run_id, invocation=invocation, settled_at=None
        )
        approvals = waiting.filter(kind=ActionKind.APPROVAL)
        approvals.exclude(status__in=_UNDECIDED).update(parked=True)
    return passed


def cancel_open(run_ids: Iterable[int]) -> None:
    """Close the approvals of runs that have just ended; in that transaction."""
    ended = list(run_ids)
    if not ended:
        return
    mine = PendingAction.objects.filter(
        run_id__in=ended,
        kind=ActionKind.APPROVAL,
        status=ActionStatus.OPEN,
    )
    mine.update(status=ActionStatus.CANCELLED, settled_at=datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Settled:
    """What carrying out a decision wrote; `is_queued`: the run goes on now."""

    run: AgentRun
    first_seq: int
    events: list[NewEvent]
    is_queued: bool


def settle_parked(action: PendingAction, outcome: dict[str, Any]) -> Settled | None:
    """Keep what became of a decision about a parked run, which goes on with the last.

    `outcome` is `{"result": …}` or `{"error": {"code", "message", …}}`. None when the
    run has ended meanwhile, or was told before: it was done, and nobody is told now.
    """
    with transaction.atomic():
        place = lock_rows(Conversation.objects.filter(pk=action.conversation_id))[0]
        run = AgentRun.objects.get(pending_actions=action.pk)
        if not _keep(action, outcome):
            return None  # told before
        is_last = not _unsettled(run)
        events = [*_untold(action), _completed(action, outcome)]
        if is_last:
            known = _told_calls(run) | {"", action.tool_call_id}
            events += _begun_calls(run, known) + _answered_calls(run, known)
        target = _queued(run) if is_last else None
        fence = Fence(run.pk, None, len(events))
        if is_last:
            fence.cursor, fence.runner_sequence = "0-0", 0
        passed = pass_fence(
            [fence], sources=(RunStatus.REQUIRES_ACTION,), target=target
        )
        if not passed:
            return None
        first = passed[run.pk] - len(events) + 1
        numbered = enumerate(events, first)
        insert_events([(run.pk, seq, run.invocation, event) for seq, event in numbered])
        if is_last:
            append_transcripts([(place, item) for item in turn_items(run)])
    return Settled(run, first, events, is_last)


def settle_in_call(action: PendingAction, outcome: dict[str, Any]) -> None:
    """Keep what became of a decision that came while its call waited.

    Not once the run is paused: who carries out the decision then lets the run go on.
    """
    _keep(action, outcome, parked=False)


def _keep(action: PendingAction, outcome: dict[str, Any], **only: bool) -> bool:
    unsettled = PendingAction.objects.filter(pk=action.pk, settled_at=None, **only)
    now = datetime.now(UTC)
    return bool(unsettled.update(settled_at=now, answer=redact(outcome)))


def _unsettled(run: AgentRun) -> bool:
    left = PendingAction.objects.filter(run=run, parked=True, settled_at=None)
    return left.exclude(status__in=_UNDECIDED).exists()


def _queued(run: AgentRun) -> dict[str, Any]:
    return {
        "status": RunStatus.QUEUED,
        "status_reason": "",
        "queued_at": datetime.now(UTC),
        "invocation": run.invocation + 1,
    }


def _untold(action: PendingAction) -> list[NewEvent]:
    """Return `action.resolved`, unless a worker that waited has written it."""
    if was_decided(action):
        return []
    return [NewEvent(EventType.ACTION_RESOLVED, described(action))]


def _completed(action: PendingAction, outcome: dict[str, Any]) -> NewEvent:
    return _tool_completed(action.tool_call_id, action.tool_name, outcome)


def _tool_completed(call_id: str, name: str, outcome: dict[str, Any]) -> NewEvent:
    error = outcome.get("error")
    data = {
        "tool_call_id": call_id,
        "tool_name": name,
        "result": redact(outcome.get("result")),
        "error": f"{error['code']}: {error['message']}" if error else None,
    }
    return NewEvent(EventType.TOOL_CALL_COMPLETED, data)


def _told_calls(run: AgentRun) -> set[str]:
    told = RunEvent.objects.filter(
        run=run, invocation=run.invocation, type=EventType.TOOL_CALL_COMPLETED
    )
    return set(told.values_list("data__tool_call_id", flat=True))


def _begun_calls(run: AgentRun, known: set[str]) -> list[NewEvent]:
    """Return the outcomes of calls that the paused runner did not tell of any more.

    A runner that rebuilds from history would make them again. Adds what the model
    calls them to the `known` ones.
    """
    begun = HostCall.objects.filter(run=run, invocation=run.invocation)
    names = begun.order_by("plugin_seq_id").values_list("tool_call_id", "pk")
    left = {name: key for name, key in names if name not in known}
    known.update(left)
    return [
        _tool_completed(row.tool_call_id, row.tool_name, _answer_of(row))
        for row in begun.filter(pk__in=left.values()).order_by("plugin_seq_id")
    ]


def _answered_calls(run: AgentRun, known: set[str]) -> list[NewEvent]:
    """Return likewise what people decided about calls that executed nothing then.

    The runner would have them asked again. One that its model has no name for, it may
    have told of under any.
    """
    answered = PendingAction.objects.filter(
        run=run,
        invocation=run.invocation,
        kind=ActionKind.APPROVAL,
        parked=False,
        decided_at__isnull=False,
        settled_at__isnull=False,
    )
    left = answered.exclude(tool_call_id__in=known).order_by("pk")
    return [
        event
        for action in left
        if action.tool_call_id != number_of(run.invocation, action.plugin_seq_id)
        for event in (*_untold(action), _completed(action, action.answer or {}))
    ]


def _answer_of(row: HostCall) -> dict[str, Any]:
    try:
        return outcome_of(row)
    except ProtocolError as error:
        return {"error": error.as_dict()}
