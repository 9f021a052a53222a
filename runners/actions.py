"""Deciding what waits for a person: the one place for every door.

Whoever comes first wins, by compare-and-set on the action's row; the others get
`ActionResolvedError`, which names who decided, when and what. The decision, its audit
entry, what it allows for later and, for a question, the event with its answer are one
transaction. The tool is not executed here: the worker that waits does it, or, for a
paused run, the next one that looks (`runners.engine.carrying_out`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from langbot.core.audit import record_act
from langbot.core.models import Workspace
from runners.choices import ActionKind, ActionStatus, RunStatus
from runners.decisions import (
    STATUS_OF,
    ActionError,
    ActionExpiredError,
    ActionResolvedError,
    Decider,
    Decision,
    DecisionInvalidError,
    check_decision,
)
from runners.endings import end_and_wake
from runners.hints import hint_worker
from runners.ledger import pausing
from runners.ledger.batches import Ending
from runners.models import AgentRun, PendingAction, ToolGrant
from runners.protocol.errors import ErrorCode
from runners.questions import lock_place, submit_answer
from runners.signals import tell_action_resolved
from runners.wakes import wake_actions

_DECIDED = frozenset(STATUS_OF.values())
_TOGETHER = 500  # that one sweep ends
_PAUSE_SETTLES = timedelta(seconds=10)


def open_actions(workspaces: Iterable[Workspace | int]) -> QuerySet[PendingAction]:
    """Return what people of these workspaces may decide now, newest first."""
    return PendingAction.objects.open().filter(workspace__in=list(workspaces))


def resolve_action(
    action_id: UUID, decision: Decision, decider: Decider
) -> PendingAction:
    """Decide once; returns the action as it is now. The caller checks permissions.

    Raises PendingAction.DoesNotExist, ActionResolvedError, ActionExpiredError and
    DecisionInvalidError; for a question also an AdmissionError when its conversation
    takes no more. Nothing was decided then. Call it outside a transaction.
    """
    rows = PendingAction.objects.select_related("workspace", "conversation", "agent")
    action = rows.get(public_id=action_id)
    can_be_decided = action.is_open and action.is_usable
    if action.status == ActionStatus.OPEN and not can_be_decided:
        _expire(action)  # whoever finds it too late, or of no use (LH-05)
        action.refresh_from_db()
    _check_open(action)
    check_decision(action, decision, decider)
    with transaction.atomic():
        if action.kind == ActionKind.QUESTION:
            lock_place(action)
        if not _decide(action, decision, decider):
            # As it is now, not as this transaction has seen it before.
            action.refresh_from_db()
            _check_open(action)
            raise ActionExpiredError(action)
        _carry_on(action, decision, decider)
    return action


def _check_open(action: PendingAction) -> None:
    if action.status in _DECIDED:
        raise ActionResolvedError(action)
    if not action.is_open:
        raise ActionExpiredError(action)


def _decide(action: PendingAction, decision: Decision, decider: Decider) -> bool:
    """Write the decision where nobody has; False for the loser of a race."""
    name = decider.name or (decider.user.get_username() if decider.user else "")
    changes = {
        "status": STATUS_OF[decision.decision],
        "decided_at": datetime.now(UTC),
        "decided_by": decider.user,
        "decided_by_name": str(name)[:200],
        "decision": decision.document(),
    }
    won = PendingAction.objects.open().filter(pk=action.pk).update(**changes)
    for field, value in changes.items() if won else ():
        setattr(action, field, value)
    return bool(won)


def _carry_on(action: PendingAction, decision: Decision, decider: Decider) -> None:
    """Write what follows a decision, and wake whom it concerns after the commit."""
    author = decider.name or action.decided_by_name
    after = {**decision.document(), "tool": action.tool_name}
    record_act(author, f"action {action.status}", action, after=after)
    if decision.scope != "once":
        _grant(action, decision, author)
    if action.kind == ActionKind.QUESTION:
        submit_answer(action, decision, decider)
    run = _run_of(action)
    if run is not None:
        tell_action_resolved(
            run, pausing.name_of(action), decision.decision, pausing.described(action)
        )
    if action.kind == ActionKind.APPROVAL:
        wake_actions([action.pk])
        if run is not None and run.node is not None:
            hint_worker(run.node, "wake", run.public_id)


def _run_of(action: PendingAction) -> AgentRun | None:
    return AgentRun.objects.defer("snapshot").filter(pending_actions=action.pk).first()


def _grant(action: PendingAction, decision: Decision, author: str) -> None:
    is_session = decision.scope == "session"
    grant = ToolGrant.objects.create(
        workspace=action.workspace,
        agent=action.agent,
        conversation=action.conversation if is_session else None,
        tool_name=action.tool_name,
        granted_by_name=author[:200],
        action=action,
    )
    after = {"tool": action.tool_name, "scope": decision.scope}
    record_act(author, "tool allowed", grant, after=after)


def revoke_grant(grant: ToolGrant, author: str) -> bool:
    """Ask again before this tool runs; False when it was revoked before."""
    with transaction.atomic():
        live = ToolGrant.objects.filter(pk=grant.pk, revoked_at=None)
        revoked = live.update(
            revoked_at=datetime.now(UTC), revoked_by_name=author[:200]
        )
        if revoked:
            record_act(author, "tool no longer allowed", grant)
    return bool(revoked)


def expire_actions() -> int:
    """Close what nobody decided in time; a run that waited for it ends, visibly.

    It ends as `cancelled`, code `approval_expired` (C-05, LH-07), and so does a paused
    run that nothing is open or under way for: nobody could let it go on (LH-05).
    Returns how many actions were closed.
    """
    late = PendingAction.objects.filter(
        status=ActionStatus.OPEN, expires_at__lte=datetime.now(UTC)
    )
    closed = sum(map(_expire, late.order_by("expires_at")[:_TOGETHER]))
    for run in _waiting_for_nothing()[:_TOGETHER]:
        _end_expired(run)
    return closed


def _expire(action: PendingAction) -> bool:
    """Close this action and end its run, both or neither; False for a lost race."""
    with transaction.atomic():
        lock_place(action)
        one = PendingAction.objects.filter(pk=action.pk, status=ActionStatus.OPEN)
        if action.is_usable:
            one = one.filter(expires_at__lte=datetime.now(UTC))
        won = one.update(status=ActionStatus.EXPIRED, settled_at=datetime.now(UTC))
        run = _run_of(action) if won and action.parked else None
        if run is not None:
            _end_expired(run)
    return bool(won)


def _waiting_for_nothing() -> QuerySet[AgentRun]:
    asked = PendingAction.objects.filter(
        run=OuterRef("pk"), kind=ActionKind.APPROVAL, settled_at=None
    )
    before = datetime.now(UTC) - _PAUSE_SETTLES
    runs = AgentRun.objects.paused().filter(last_active_at__lt=before)
    return runs.exclude(Exists(asked)).defer("snapshot").order_by("pk")


def _end_expired(run: AgentRun) -> None:
    message = "nobody decided about a tool call in time"
    ending = Ending(RunStatus.CANCELLED, ErrorCode.APPROVAL_EXPIRED, message)
    end_and_wake(run, ending, [RunStatus.REQUIRES_ACTION])


__all__ = [
    "ActionError",
    "ActionExpiredError",
    "ActionResolvedError",
    "Decider",
    "Decision",
    "DecisionInvalidError",
    "expire_actions",
    "open_actions",
    "resolve_action",
    "revoke_grant",
]
