"""A tool call that a client of the run executes; the run waits for the answer.

The row of the call is its journal: a worker that takes the run over finds it by the
plugin's request and waits on, so that no client is asked twice.
"""

import time
from typing import Any

from agents.resources.tools import Tool
from langbot.lib.redaction import redact
from runners.choices import ClientCallStatus, EventType
from runners.client_tools import CLIENT
from runners.clients.calls import open_call, settled_call
from runners.host_api.calls import HostCall
from runners.host_api.sizes import bounded
from runners.host_api.timing import allowed_seconds
from runners.ledger.fence import NewEvent
from runners.models import ClientCall
from runners.protocol.context import Resources
from runners.protocol.errors import ErrorCode, ProtocolError

_MARGIN = 5.0  # seconds; the row expires by itself, unless the database is away


async def call_client(
    call: HostCall, name: str, parameters: dict[str, Any], most: float
) -> dict[str, Any]:
    """Return `{"result": object}` as a client gave it.

    Raises ProtocolError `client.unavailable` when none answered in time, and
    `runtime_error` with the client's words when its tool failed.
    """
    handle = call.handle
    if handle is None:
        raise _unanswered("no client follows the run now")
    seconds = allowed_seconds(call, most)
    row = await call.database(open_call, call.key, name, parameters, seconds)
    await call.tell(_started(row))
    until = row.expires_at.timestamp()
    settled = await handle.until_within(
        lambda: call.database(settled_call, row.pk),
        lambda: until - time.time() + _MARGIN,
    )
    answer = _answer_of(settled)
    await call.tell(_completed(row, answer))
    if "error" in answer:
        raise _failed(settled, answer["error"])
    return {"result": bounded(answer["result"])}


def described_tool(resources: Resources, name: str) -> Tool:
    """Return the tool as the run was told of it; its policy may differ by now."""
    (known,) = (one for one in resources.tools if one.tool_name == name)
    return Tool(
        name=name,
        description=known.description or "",
        parameters=known.parameters or {},
    )


def _answer_of(settled: ClientCall | None) -> dict[str, Any]:
    if settled is None or settled.status != ClientCallStatus.ANSWERED:
        return {"error": "no client answered in time"}
    return dict(settled.answer)


def _failed(settled: ClientCall | None, message: str) -> ProtocolError:
    if settled is None or settled.status != ClientCallStatus.ANSWERED:
        return _unanswered(message)
    return ProtocolError(ErrorCode.RUNTIME_ERROR, message)


def _unanswered(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.CLIENT_UNAVAILABLE, message)


def _started(row: ClientCall) -> NewEvent:
    data = {
        "tool_call_id": str(row.public_id),
        "tool_name": row.tool_name,
        "parameters": redact(row.parameters),
        "executor": CLIENT,
    }
    return NewEvent(EventType.TOOL_CALL_STARTED, data)


def _completed(row: ClientCall, answer: dict[str, Any]) -> NewEvent:
    data = {
        "tool_call_id": str(row.public_id),
        "tool_name": row.tool_name,
        "result": redact(answer.get("result")),
        "error": answer.get("error"),
        "executor": CLIENT,
    }
    return NewEvent(EventType.TOOL_CALL_COMPLETED, data)
