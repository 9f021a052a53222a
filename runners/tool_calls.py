"""What a run did with tools, put together from its ledger (AG-24)."""

import json
from typing import Any

from runners.choices import EventType
from runners.models import RunEvent

_CHARACTERS = 400  # of one input or output


def tool_calls_of(run_key: int) -> list[dict[str, Any]]:
    """Return `{"tool_call_id", "tool_name", "input", "output", "success"}`, in order.

    Inputs and outputs are JSON as text, cut where they are long; a call without an
    answer has no output, and an answer to no call is left out.
    """
    events = RunEvent.objects.filter(
        run=run_key,
        type__in=[EventType.TOOL_CALL_STARTED, EventType.TOOL_CALL_COMPLETED],
    )
    calls: list[dict[str, Any]] = []
    newest: dict[str, dict[str, Any]] = {}  # models may use an id again
    for kind, data in events.order_by("seq").values_list("type", "data"):
        if kind == EventType.TOOL_CALL_STARTED:
            call = newest[data["tool_call_id"]] = _started(data)
            calls.append(call)
        elif data["tool_call_id"] in newest:
            newest[data["tool_call_id"]] |= _outcome(data)
    return calls


def _started(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "tool_call_id": data["tool_call_id"],
        "tool_name": data["tool_name"],
        "input": _text(data.get("parameters") or {}),
        "output": None,
        "success": False,
    }


def _outcome(data: dict[str, Any]) -> dict[str, Any]:
    error = data.get("error")
    said = {"error": error} if error else data.get("result")
    return {"output": _text(said), "success": not error}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:_CHARACTERS]
