"""Effects of host calls, done once however often a frame arrives.

A restarted Redis or a new worker hands calls on again that were answered before. Doing
an old write once more would undo the newer ones. A run that is not `running`, because
it ended or is parked, gets nothing done: the statement that writes the journal's row
looks at the run, too.

`once` is for effects in our own database. What happens elsewhere (tools, platforms)
goes between `before` and `after`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from langbot.lib.cursors import execute_write
from langbot.lib.group_commit import own_transaction
from runners.choices import HostCallStatus, RunStatus
from runners.models import AgentRun, HostCall
from runners.protocol.errors import ErrorCode, ProtocolError


@dataclass(frozen=True, slots=True)
class CallKey:
    """Which call of which run: a plugin numbers its requests upwards."""

    run_id: int
    invocation: int
    plugin_seq_id: int
    action: str
    status: RunStatus = RunStatus.RUNNING  # in which the run has to be
    tool_call_id: str = ""  # of a tool: what the model calls this use of it
    tool_name: str = ""


class _NotFirstError(Exception):
    """The journal has this call already, or its run is not running."""


def once(key: CallKey, effect: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `effect` and keep its answer in one transaction; a repeat only gets that.

    Raises ProtocolError `run.not_active`; nothing was done then.
    """
    try:
        with own_transaction():
            answer = effect()
            if not _insert(key, HostCallStatus.ANSWERED, answer):
                raise _NotFirstError
    except _NotFirstError:
        return _earlier(key)
    except ProtocolError:
        # What was done before may be why it cannot be done again.
        known = _rows(key).filter(status=HostCallStatus.ANSWERED).first()
        if known is None:
            raise
        return dict(known.answer)
    return answer


def before(key: CallKey, goes_on: bool = False) -> dict[str, Any] | None:  # noqa: FBT001, FBT002  called through executors
    """Note that an effect begins; None when the caller has to do it now.

    `goes_on`: an effect that was begun and not answered is to be done again, because it
    finds what it did before.

    Otherwise it was done before and this is its answer, or its ProtocolError is raised
    again. Raises ProtocolError `outcome_unknown` for one that began and never
    answered, `run.not_active` for a run that is not running. Commits by itself: call
    it outside a transaction.
    """
    if _insert(key, HostCallStatus.STARTED) or (goes_on and _is_open(key)):
        return None
    return _earlier(key)


def _is_open(key: CallKey) -> bool:
    return bool(_rows(key).filter(status=HostCallStatus.STARTED).exists())


def after(key: CallKey, answer: dict[str, Any]) -> None:
    """Keep the answer of an effect that `before` has begun."""
    _settle(key, HostCallStatus.ANSWERED, answer)


def failed(key: CallKey, error: ProtocolError) -> None:
    """Keep that an effect certainly did not happen, and why.

    One of which nobody knows stays without an answer.
    """
    _settle(key, HostCallStatus.FAILED, error.as_dict())


def _settle(key: CallKey, status: HostCallStatus, answer: dict[str, Any]) -> None:
    begun = _rows(key).filter(status=HostCallStatus.STARTED)
    begun.update(status=status, answer=answer, answered_at=datetime.now(UTC))


def _earlier(key: CallKey) -> dict[str, Any]:
    call = _rows(key).first()
    if call is None:
        message = "the run has ended or waits for a person"
        raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, message)
    return outcome_of(call)


def outcome_of(call: HostCall) -> dict[str, Any]:
    """Return the answer of a call that was made; raises its ProtocolError."""
    if call.status == HostCallStatus.STARTED:
        message = "the call was begun, and nobody knows whether it had its effect"
        raise ProtocolError(ErrorCode.OUTCOME_UNKNOWN, message)
    if call.status == HostCallStatus.FAILED:
        raise ProtocolError(**call.answer)
    return dict(call.answer)


def _rows(key: CallKey) -> Any:
    return HostCall.objects.filter(
        run_id=key.run_id, invocation=key.invocation, plugin_seq_id=key.plugin_seq_id
    )


def _insert(
    key: CallKey, status: HostCallStatus, answer: dict[str, Any] | None = None
) -> bool:
    """Write the row if there is none and the run is running."""
    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    values: dict[str, Any] = {
        "invocation": key.invocation,
        "plugin_seq_id": key.plugin_seq_id,
        "action": key.action,
        "tool_call_id": key.tool_call_id,
        "tool_name": key.tool_name,
        "status": str(status),
        "created_at": now,
    }
    if answer is not None:
        values["answer"] = connection.ops.adapt_json_value(answer, None)
        values["answered_at"] = now
    quote = connection.ops.quote_name
    sql = f"""
        INSERT INTO {quote(HostCall._meta.db_table)} (run_id, {", ".join(values)})
        SELECT id, {", ".join(["%s"] * len(values))}
        FROM {quote(AgentRun._meta.db_table)}
        WHERE id = %s AND status = '{key.status.value}'
        ON CONFLICT DO NOTHING
    """  # noqa: S608  only names and words of our own are interpolated
    return execute_write(connection, sql, [*values.values(), key.run_id]) == 1
