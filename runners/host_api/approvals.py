"""Asking a person before a tool runs (`docs/architecture.md` §6, LH-16).

A decision in time is answered inside the call. After 150 s of waiting in one invocation
the run is parked, or, where its runner cannot be resumed, ended with the question left
open: what is decided then counts for the same call of the next run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, InterfaceError

from agents.policies import APPROVALS, evaluate_tool
from langbot.lib.conf import limits
from runners.choices import ActionKind, ActionStatus
from runners.engine.asking import approval
from runners.host_api.calls import HostCall
from runners.ledger import pausing
from runners.models import PendingAction, ToolGrant
from runners.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
# Executes the tool with these arguments, in at most so many seconds.
Execute = Callable[[dict[str, Any], float], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The call that a person is asked about."""

    call: HostCall
    tool: str
    arguments: dict[str, Any]
    call_id: str


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is known of a call before anybody is asked."""

    action: PendingAction | None = None
    is_granted: bool = False
    spent: float = 0.0  # seconds that this invocation has waited before


def check_allowed(call: HostCall, tool: str) -> None:
    """Raise `tool_denied` unless the tool runs without a person.

    For what is called so often that nobody could be asked.
    """
    policy = call.facts.snapshot.get(APPROVALS)
    if policy is not None and evaluate_tool(policy, tool) != "allow":
        raise _denied(tool)


async def approved(
    call: HostCall,
    tool: str,
    arguments: dict[str, Any],
    execute: Execute,
    seconds: float,
) -> Answer:
    """Execute the tool if the run's policy or a person lets it; returns its answer.

    Raises ProtocolError `tool_denied`, `tool_rejected` or `approval_expired`. A run
    that has to wait too long is parked, and nothing answers its call.
    """
    policy = call.facts.snapshot.get(APPROVALS)
    verdict = evaluate_tool(policy, tool) if policy is not None else "allow"
    if verdict == "allow":
        return await execute(arguments, seconds)
    if verdict == "deny" or call.handle is None:
        raise _denied(tool)
    wanted = _Wanted(call, tool, arguments, pausing.call_id_of(call.data))
    standing = await call.database(_standing, wanted)
    if standing.is_granted:
        return await execute(arguments, seconds)
    begun = asyncio.get_running_loop().time()
    action = await _decided(wanted, standing)
    await call.handle.note_decision(action)
    left = seconds - (asyncio.get_running_loop().time() - begun)
    return await _carry_out(call, action, lambda given: execute(given, left))


async def _decided(wanted: _Wanted, standing: _Standing) -> PendingAction:
    """Return the action once it is decided; ends with the run where it is not."""
    call, handle, known = wanted.call, wanted.call.handle, standing.action
    if handle is None:
        raise _denied(wanted.tool)
    if known is not None and known.status != ActionStatus.OPEN:
        return known
    since = known.created_at.timestamp() if known is not None else None
    begun = asyncio.get_running_loop().time()
    with handle.stopped_clock(since, standing.spent):
        if known is None:
            known = approval(
                call.facts, call.key, wanted.tool, wanted.arguments, wanted.call_id
            )
            await handle.ask(known)
        key = known.public_id
        decided = await handle.until(lambda: call.database(_look, key))
        if decided is None:
            # Whoever decides from here on finds the run parked in a moment.
            spent = asyncio.get_running_loop().time() - begun
            await handle.until_effects_end(limits().tool_call_seconds - spent)
            handle.give_up_waiting()
            await asyncio.Future()  # until the run is closed
            raise _expired()
    return decided


async def _carry_out(
    call: HostCall,
    action: PendingAction,
    execute: Callable[[dict[str, Any]], Awaitable[Answer]],
) -> Answer:
    """Do what was decided and keep what became of it."""
    try:
        answer = await outcome(action, execute)
    except ProtocolError as error:
        await _settle(call, action, {"error": error.as_dict()})
        raise
    await _settle(call, action, answer)
    return answer


async def _settle(call: HostCall, action: PendingAction, answer: Answer) -> None:
    """Keep the answer; where that fails, the runner is told it all the same."""
    try:
        await call.database(pausing.settle_in_call, action, answer)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the outcome of %s is not kept: %s", action.public_id, error)


async def outcome(
    action: PendingAction, execute: Callable[[dict[str, Any]], Awaitable[Answer]]
) -> Answer:
    """Return the answer to a decided call; raises ProtocolError where it has none."""
    given = action.decision or {}
    if action.status == ActionStatus.APPROVED:
        return await execute(action.arguments)
    if action.status == ActionStatus.EDITED:
        return await execute(given["args"])
    if action.status == ActionStatus.RESPONDED:
        return {"result": given["values"]}
    if action.status == ActionStatus.REJECTED:
        raise _rejected(action)
    raise _expired()


def _look(action_id: Any) -> PendingAction | None:
    action = PendingAction.objects.filter(public_id=action_id).first()
    if action is None:
        message = "another call of this id waits for a person"
        raise ProtocolError(ErrorCode.CONFLICT, message)
    return action if action.status != ActionStatus.OPEN else None


def _standing(wanted: _Wanted) -> _Standing:
    key, facts = wanted.call.key, wanted.call.facts
    mine = PendingAction.objects.filter(
        run_id=key.run_id, invocation=key.invocation, kind=ActionKind.APPROVAL
    )
    earlier = list(mine.order_by("created_at"))
    spent = _waited(earlier)
    for action in earlier:
        if action.plugin_seq_id == key.plugin_seq_id:
            return _Standing(action, spent=spent)
    grants = ToolGrant.objects.filter(
        agent_id=facts.agent_pk,
        workspace_id=facts.workspace_id,
        tool_name=wanted.tool,
        revoked_at=None,
    )
    places = {facts.conversation_id, None}
    if places & set(grants.values_list("conversation_id", flat=True)):
        return _Standing(is_granted=True)
    return _Standing(_kept(wanted), spent=spent)


def _kept(wanted: _Wanted) -> PendingAction | None:
    """Take the decision about the same call of a run that could not wait for it."""
    facts = wanted.call.facts
    decided = PendingAction.objects.filter(
        conversation_id=facts.conversation_id,
        agent_id=facts.agent_pk,
        kind=ActionKind.APPROVAL,
        tool_name=wanted.tool,
        parked=False,
        settled_at=None,
        decided_at__isnull=False,
        run__error_code=ErrorCode.APPROVAL_NOT_RESUMABLE,
    )
    for action in decided.order_by("pk"):
        if action.arguments == wanted.arguments and _take(action):
            return action
    return None


def _take(action: PendingAction) -> bool:
    one = PendingAction.objects.filter(pk=action.pk, settled_at=None)
    return bool(one.update(settled_at=datetime.now(UTC)))


def _waited(actions: list[PendingAction]) -> float:
    """Return the seconds in which at least one decided call has waited."""
    total, until = 0.0, 0.0
    for action in actions:
        if action.decided_at is not None:
            begun = max(until, action.created_at.timestamp())
            until = max(until, action.decided_at.timestamp())
            total += max(0.0, until - begun)
    return total


def _denied(tool: str) -> ProtocolError:
    message = f"the agent's approval policy does not let {tool[:100]} run"
    return ProtocolError(ErrorCode.TOOL_DENIED, message)


def _rejected(action: PendingAction) -> ProtocolError:
    reason = (action.decision or {}).get("reason") or "a person rejected the call"
    details = {"action_id": str(action.public_id), "by": action.decided_by_name}
    return ProtocolError(ErrorCode.TOOL_REJECTED, reason, details=details)


def _expired() -> ProtocolError:
    return ProtocolError(ErrorCode.APPROVAL_EXPIRED, "nobody decided in time")
