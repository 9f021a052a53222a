"""Tool calls that clients execute: opened by a worker, answered by one client."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from langbot.lib.ids import read_uuid
from runners.choices import ClientCallStatus, RunStatus
from runners.hints import hint_worker
from runners.ledger.journal import CallKey
from runners.models import AgentRun, ClientCall


class CallRefusedError(Exception):
    """An answer that does not count; `code` is `not_found` or `conflict`."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


def open_call(
    key: CallKey, name: str, parameters: dict[str, Any], seconds: float
) -> ClientCall:
    """Return the row of this call, written before anybody is told; safe to repeat."""
    same = ClientCall.objects.filter(
        run=key.run_id, invocation=key.invocation, plugin_seq_id=key.plugin_seq_id
    )
    known = same.first()
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return ClientCall.objects.create(
                run_id=key.run_id,
                invocation=key.invocation,
                plugin_seq_id=key.plugin_seq_id,
                tool_name=name,
                parameters=parameters,
                expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
            )
    except IntegrityError:
        return same.get()  # a worker that lost the run wrote it meanwhile


def settled_call(call_id: int) -> ClientCall | None:
    """Return a call that waits no longer; one whose time is up expires here."""
    late = ClientCall.objects.filter(
        pk=call_id, status=ClientCallStatus.WAITING, expires_at__lte=datetime.now(UTC)
    )
    late.update(status=ClientCallStatus.EXPIRED)
    call = ClientCall.objects.get(pk=call_id)
    return None if call.status == ClientCallStatus.WAITING else call


def answer_call(
    run: AgentRun, call_id: UUID, answer: dict[str, Any], name: str
) -> None:
    """Give a waiting call its one answer; raises CallRefusedError for every other."""
    mine = ClientCall.objects.filter(run=run.pk, public_id=call_id)
    # Not by a join: PostgreSQL would look at its rows before the winner's commit.
    is_running = AgentRun.objects.filter(pk=OuterRef("run"), status=RunStatus.RUNNING)
    waiting = mine.filter(
        Exists(is_running),
        status=ClientCallStatus.WAITING,
        expires_at__gt=datetime.now(UTC),
    )
    won = waiting.update(
        status=ClientCallStatus.ANSWERED,
        answer=answer,
        answered_by=name[:200],
        answered_at=datetime.now(UTC),
    )
    if not won:
        raise _refusal(mine.first())
    node = AgentRun.objects.values_list("node", flat=True).get(pk=run.pk)
    if node is not None:
        hint_worker(node, "wake", run.public_id)


def open_request(run_key: int, call_id: str) -> dict[str, Any] | None:
    """Return the members of `tool_request`; None for a call that waits no longer."""
    own = read_uuid(call_id)
    if own is None:
        return None  # a runner may say anything of tools of its own
    call = ClientCall.objects.filter(
        run=run_key,
        public_id=own,
        status=ClientCallStatus.WAITING,
        expires_at__gt=datetime.now(UTC),
    ).first()
    if call is None:
        return None
    return {
        "call_id": str(call.public_id),
        "tool_name": call.tool_name,
        "parameters": call.parameters,
        "expires_at": call.expires_at.timestamp(),
    }


def _refusal(call: ClientCall | None) -> CallRefusedError:
    if call is None:
        return CallRefusedError("not_found", "there is no such call")
    if call.status == ClientCallStatus.ANSWERED:
        when = call.answered_at.isoformat() if call.answered_at else ""
        detail = f"{call.answered_by} answered it at {when}"
        return CallRefusedError("conflict", detail)
    return CallRefusedError("conflict", "the call waits no longer")
