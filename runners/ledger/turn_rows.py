"""What a run thought and did with tools, as rows of the transcript (AG-14, AG-61).

Made from the ledger, in the order in which it happened, before anything else of the
turn gets its row: what people said meanwhile, what the run said, its reply; and when it
is paused. No row is written twice: each knows the event that it goes up to.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from django.db.models import Q, QuerySet

from agents.policies import APPROVALS
from langbot.lib.conf import limits
from runners.choices import HIDDEN_THOUGHT, THOUGHT, EventType, Role
from runners.client_tools import CLIENT
from runners.ledger.actions import PendingAction
from runners.ledger.conversations import TranscriptItem
from runners.ledger.frozen import frozen_access, shows_thoughts
from runners.ledger.runs import AgentRun, RunEvent
from runners.platform_tools import REPLY_TOOL

_TOOLS = (EventType.TOOL_CALL_STARTED, EventType.TOOL_CALL_COMPLETED)
_WITH_EVENT = ("tool_result", THOUGHT, HIDDEN_THOUGHT)


def calls_tools(run: AgentRun) -> bool:
    """Whether a run may call tools whose answers it goes on from."""
    access = frozen_access(run)
    able = (access.get("capabilities") or {}).get("tool_calling", False)
    return bool(able and set(access.get("tools") or ()) - {REPLY_TOOL})


def has_rows_meanwhile(run: AgentRun) -> bool:
    """Whether the transcript may have grown in a run: it spoke, or was spoken to."""
    access = frozen_access(run)
    can_pull = (access.get("capabilities") or {}).get("steering", False)
    return bool(can_pull or access.get("tools"))


def turn_items(run: AgentRun, *, with_tools: bool = True) -> Iterator[TranscriptItem]:
    """Return rows of this invocation: thoughts, and tool calls with their answers.

    Not of those that have rows already: what was said behind them is in the transcript
    before the run ends (AG-14). A thought that went on then has a second row. The
    conversation's row must be locked.
    """
    written, arguments = _written_up_to(run), _asked_for(run)
    kinds = _TOOLS if with_tools else ()
    for _, group in groupby(_events(run, written, kinds), _part):
        events = list(group)
        data, seq = events[-1].data, events[-1].seq
        if events[-1].type == EventType.REASONING_DELTA:
            text = "".join(str(one.data.get("text") or "") for one in events)
            yield thought_item(run, text, block=data.get("block", 1), event_seq=seq)
        elif data.get("executor") == CLIENT:
            continue  # the runner tells of the same call under its model's id
        elif events[-1].type == EventType.TOOL_CALL_STARTED:
            arguments[data["tool_call_id"]] = data.get("parameters") or {}
        elif seq > written:
            yield _call_item(run, data, arguments.get(data["tool_call_id"], {}))
            yield _result_item(run, data, seq)


def thought_item(run: AgentRun, text: str, **metadata: int) -> TranscriptItem:
    """Return the row of a block of thinking; models and searches never see it."""
    kind = THOUGHT if shows_thoughts(run.snapshot) else HIDDEN_THOUGHT
    item = _item(run, Role.REASONING, kind, text, [{"type": "text", "text": text}])
    item.metadata = metadata
    return item


def _events(
    run: AgentRun, written: int, kinds: Sequence[EventType]
) -> QuerySet[RunEvent]:
    thoughts = Q(type=EventType.REASONING_DELTA, seq__gt=written)
    events = RunEvent.objects.filter(run=run, invocation=run.invocation)
    return events.filter(Q(type__in=kinds) | thoughts).order_by("seq")


def _part(event: RunEvent) -> tuple[bool, int]:
    """Return what is the same for the deltas of one block only."""
    is_thought = event.type == EventType.REASONING_DELTA
    return is_thought, event.data.get("block", 1) if is_thought else event.seq


def _written_up_to(run: AgentRun) -> int:
    """Return the number of the last event that is in the transcript."""
    rows = TranscriptItem.objects.filter(run=run, item_type__in=_WITH_EVENT)
    last = rows.order_by("-seq").values_list("metadata", flat=True).first()
    return int((last or {}).get("event_seq", 0))


def _asked_for(run: AgentRun) -> dict[str, dict[str, Any]]:
    """Return the arguments of calls that people were asked about, by their ids."""
    if APPROVALS not in (run.snapshot or {}):
        return {}
    asked = PendingAction.objects.filter(run=run, invocation=run.invocation)
    return dict(asked.values_list("tool_call_id", "arguments"))


def _call_item(
    run: AgentRun, data: dict[str, Any], arguments: dict[str, Any]
) -> TranscriptItem:
    function = {"name": data["tool_name"], "arguments": json.dumps(arguments)}
    call = {"id": data["tool_call_id"], "type": "function", "function": function}
    content = {"role": "assistant", "content": None, "tool_calls": [call]}
    return _item(run, Role.ASSISTANT, "tool_call", data["tool_name"], content)


def _result_item(run: AgentRun, data: dict[str, Any], seq: int) -> TranscriptItem:
    error = data.get("error")
    said = {"error": error} if error else data.get("result")
    text = json.dumps(said, ensure_ascii=False)
    content = {"role": "tool", "tool_call_id": data["tool_call_id"], "content": text}
    item = _item(run, Role.TOOL, "tool_result", text, content)
    item.metadata = {"event_seq": seq}
    return item


def _item(
    run: AgentRun, role: Role, kind: str, text: str, content: Any
) -> TranscriptItem:
    return TranscriptItem(
        role=role,
        item_type=kind,
        text=text[: limits().transcript_characters],
        content=content,
        run=run,
    )
