"""Sub-runs: an agent asks another one by a tool, and waits or comes back for it.

A sub-run has a conversation of its own, the rights that both agents have, the dry run
and the person of the run that asked, and nothing is delivered. Its event comes from
`run:<asking run>` under the key of the tool call, so that a worker that takes over the
asking run finds the sub-run that the call began, and never begins another.
"""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urljoin
from uuid import UUID

from django.db import DatabaseError
from django.urls import NoReverseMatch, reverse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agents.models import Agent
from agents.resources.tools import ToolCall, ToolError
from langbot.lib.conf import DEEPEST_SUB_RUN, conf
from langbot.lib.ids import read_uuid
from runners.admission import MESSAGE, Incoming, admit
from runners.agent_tools import DEFAULT_WAIT
from runners.answers import reply_of
from runners.choices import ConversationKind, QueuedStatus, RunStatus
from runners.errors import AdmissionError
from runners.ledger.lineage import SOURCE, asking_run
from runners.ledger.turns import title_of
from runners.models import (
    AgentRun,
    Conversation,
    EventLog,
    QueuedMessage,
    TranscriptItem,
)
from runners.pending import cancel_message
from runners.protocol.errors import ErrorCode
from runners.services import request_cancel
from runners.spending import person_behind
from runners.tool_calls import tool_calls_of

_SHOWN, _SHOWN_CHARACTERS = 5, 400  # AG-99
_TRIGGER = "system"  # C-19
_DELIVERY = {"surface": "sub_run", "automatic_reply": True}
_ENDED = {
    RunStatus.COMPLETED: "completed",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.FAILED: "error",
    RunStatus.TIMEOUT: "error",
}
_Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="ignore")

    wait_seconds: float = Field(default=DEFAULT_WAIT, allow_inf_nan=False)


class Ask(_Parameters):
    """What another agent is to do. `sub_run_id` goes on with an earlier talk."""

    text: _Said
    context: str = ""
    sub_run_id: str = ""


class Look(_Parameters):
    """Which sub-run is looked after; to cancel wins over waiting (AG-94)."""

    sub_run_id: str
    cancel: bool = False
    include_progress: bool = False


def start(call: ToolCall, slug: str, ask: Ask) -> UUID:
    """Begin a sub-run, once for the call; returns its id for `look` and `describe`.

    Raises ToolError `too_deep`, `not_found` for an agent that is gone and for a talk
    that is not the caller's, and `conflict` where the agent does not take it now.
    """
    caller = _caller(call)
    if caller.depth >= DEEPEST_SUB_RUN:
        message = f"agents ask each other {DEEPEST_SUB_RUN} deep at most"
        details = {"agent": slug, "depth": caller.depth}
        raise ToolError(message, code=ErrorCode.TOO_DEEP, details=details)
    agent = Agent.objects.filter(
        workspace=call.workspace_id, slug=slug, enabled=True, archived_at=None
    ).first()
    if agent is None:
        raise ToolError("there is no such agent", code=ErrorCode.NOT_FOUND)
    conversation = _conversation(call, caller, agent, ask)
    try:
        return admit(_incoming(call, caller, agent, conversation, ask)).event.public_id
    except AdmissionError as error:
        details = {"reason": error.code}
        raise ToolError(str(error), code=ErrorCode.CONFLICT, details=details) from None


def describe(call: ToolCall, sub_run_id: UUID, *, progress: bool = False) -> Any:
    """Return how a sub-run stands, as the tools answer (AG-98).

    Its reply is there only once it has ended (AG-96).
    """
    event = _own(call, str(sub_run_id))
    run, message = _run_of(event)
    answer: dict[str, Any] = {
        "status": _status(run, message),
        "sub_run_id": str(event.public_id),
        "run_id": str(run.public_id) if run is not None else None,
        "conversation_id": _place(event),
        "link": _link(event),
        "elapsed_seconds": _elapsed(event, run),
    }
    if run is not None and run.is_terminal:
        reply = reply_of(run.public_id) or {}
        answer["response"] = reply.get("text", "")
        answer["tool_calls"] = tool_calls_of(run.pk)
        answer["tokens"] = (run.usage or {}).get("total_tokens")
        more = ("artifacts", "error")
        answer |= {name: reply[name] for name in more if name in reply}
    elif progress:
        answer["progress"] = _progress(event)
    return answer


def waits_for(call: ToolCall, sub_run_id: str) -> dict[str, Any]:
    """Return what `answers.wait_for_reply` waits for; raises `not_found`."""
    event = _own(call, sub_run_id)
    run, _message = _run_of(event)
    run_id = str(run.public_id) if run is not None else None
    return {"run_id": run_id, "message_id": str(event.public_id)}


def cancel(call: ToolCall, sub_run_id: str) -> dict[str, Any]:
    """Stop a sub-run of the caller; the answer says so at once (AG-97)."""
    event = _own(call, sub_run_id)
    run, message = _run_of(event)
    if run is not None and not run.is_terminal:
        request_cancel(run, f"the agent of run {call.run_id} stopped it")
    elif run is None and message is not None:
        cancel_message(message)
    told: dict[str, Any] = describe(call, event.public_id)
    is_ended = run is not None and run.is_terminal
    return told if is_ended else {**told, "status": "cancelled"}


def _caller(call: ToolCall) -> AgentRun:
    rows = AgentRun.objects.select_related("event", "workspace").defer("snapshot")
    return rows.get(public_id=call.run_id, workspace=call.workspace_id)


def _own(call: ToolCall, sub_run_id: str) -> EventLog:
    """Return the event of a sub-run that this agent began in this conversation.

    Another's and one that never was are alike `not_found` (AG-95).
    """
    caller, event = _caller(call), _asked_by_a_run(call, sub_run_id)
    asking = asking_run(event) if event is not None else None
    if event is not None and asking is not None:
        family = AgentRun.objects.filter(
            public_id=asking, conversation=caller.conversation_id, agent=caller.agent_id
        )
        if family.exists():
            return event
    raise ToolError("there is no such sub-run", code=ErrorCode.NOT_FOUND)


def _asked_by_a_run(call: ToolCall, sub_run_id: str) -> EventLog | None:
    public_id = read_uuid(sub_run_id)
    if public_id is None:
        return None
    return EventLog.objects.filter(
        workspace=call.workspace_id,
        public_id=public_id,
        source__startswith=SOURCE,
        type=MESSAGE,
    ).first()


def _run_of(event: EventLog) -> tuple[AgentRun | None, QueuedMessage | None]:
    """Return the run that answers the event, or what waits for its turn."""
    run = event.runs.defer("snapshot").order_by("-attempt").first()
    waiting = QueuedMessage.objects.filter(event=event).select_related("run")
    message = None if run is not None else waiting.first()
    return (run or (message.run if message is not None else None)), message


def _status(run: AgentRun | None, message: QueuedMessage | None) -> str:
    if run is not None:
        return _ENDED.get(RunStatus(run.status), "running")
    is_waiting = message is not None and message.status == QueuedStatus.QUEUED
    return "queued" if is_waiting else "cancelled"


def _conversation(
    call: ToolCall, caller: AgentRun, agent: Agent, ask: Ask
) -> Conversation:
    if ask.sub_run_id:
        return _continued(call, agent, ask.sub_run_id)
    row, _is_new = Conversation.objects.get_or_create(
        workspace=caller.workspace,
        key=f"sub:{call.key}",
        defaults={
            "kind": ConversationKind.SUB,
            "actor_id": str(caller.event.actor.get("id") or "")[:200],
            "title": title_of({"text": ask.text}),
        },
    )
    return row


def _continued(call: ToolCall, agent: Agent, sub_run_id: str) -> Conversation:
    earlier = _own(call, sub_run_id)
    talks = AgentRun.objects.filter(conversation=earlier.conversation_id)
    if earlier.conversation is None or talks.exclude(agent=agent).exists():
        message = "that sub-run is another agent's"
        raise ToolError(message, code=ErrorCode.NOT_FOUND)
    return earlier.conversation


def _incoming(
    call: ToolCall,
    caller: AgentRun,
    agent: Agent,
    conversation: Conversation,
    ask: Ask,
) -> Incoming:
    asked = caller.event
    return Incoming(
        workspace=caller.workspace,
        source=f"{SOURCE}{caller.public_id}",
        event_id=call.key,
        type=MESSAGE,
        trigger_source=_TRIGGER,
        agent=agent,
        conversation=conversation,
        actor=asked.actor,
        subject=asked.subject,
        input={"text": f"{ask.context}\n\n{ask.text}" if ask.context else ask.text},
        delivery=dict(_DELIVERY),
        dry_run=caller.dry_run or call.is_dry_run,
        is_internal=True,
        person=person_behind(caller.pk),
    )


def _place(event: EventLog) -> str | None:
    return str(event.conversation.public_id) if event.conversation else None


def _elapsed(event: EventLog, run: AgentRun | None) -> float:
    until = run.finished_at if run is not None else None
    seconds = (until or datetime.now(UTC)) - event.created_at
    return round(max(0.0, seconds.total_seconds()), 2)


def _link(event: EventLog) -> str:
    """Return the admin's page of the talk: an address that people can open (AG-98)."""
    page = "admin:langbot_runners_conversation_change"
    try:
        path = reverse(page, args=[event.conversation_id])
    except NoReverseMatch:
        return ""  # a project without our admin
    return urljoin(conf().public_url, path)


def _progress(event: EventLog) -> dict[str, Any] | None:
    """Return what was said last; without it the answer is good all the same (AG-99)."""
    rows = TranscriptItem.objects.current().filter(conversation=event.conversation_id)
    try:
        last = list(rows.order_by("-seq")[:_SHOWN])[::-1]
        count = rows.count()
    except DatabaseError:
        return None
    said = [{"role": row.role, "text": row.text[:_SHOWN_CHARACTERS]} for row in last]
    return {"message_count": count, "last_messages": said}
