"""What Python code of another project calls: send an event, start a run, wait for it.

Everything in `__all__` keeps its name and its meaning. `runners.signals` tells what
happens meanwhile; models are for reading.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection
from django.db.transaction import TransactionManagementError

from agents.models import Agent
from langbot.core.access import DEFAULT_WORKSPACE, actor_of_user
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.text import storable
from runners.admission import MESSAGE, BotRef, Incoming, admit
from runners.answers import answer_for, find_message, reply_of, run_of, wait_for_reply
from runners.api_surface import DELIVERY, TRIGGER
from runners.choices import QueuedStatus
from runners.errors import AdmissionError
from runners.models import AgentRun, Conversation

_JSON = ("input", "data", "delivery", "metadata")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds between two looks


class BotRow(Protocol):
    """A `platforms.models.Bot`."""

    public_id: Any
    slug: Any
    workspace: Any


class EventArguments(TypedDict, total=False):
    """Named arguments of an event, all optional.

    `workspace` is a row or a slug; without it, it is that of the agent, bot or
    conversation, else `default`. `conversation` is a row or a key of yours. `actor` is
    a user of this project, or `{"id", "name"?, "type"?}`. `time` is aware. The JSON
    objects are those of REST: `input` is `{"text"?, "contents"?, "attachments"?}`.
    """

    workspace: Workspace | str
    source: str
    event_id: str
    bot: BotRow
    conversation: Conversation | str
    thread: str
    actor: Any
    subject: Mapping[str, Any]
    input: Mapping[str, Any]
    data: Mapping[str, Any]
    delivery: Mapping[str, Any]
    metadata: Mapping[str, Any]
    time: datetime
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an event: `status` is started, queued, duplicate or ignored.

    `run_id` is None while the message waits for another turn of its conversation, and
    for ignored events; `reason` says why one was ignored.
    """

    status: str
    message_id: UUID
    run_id: UUID | None = None
    conversation_id: UUID | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: `completed`, `failed`, `cancelled` or `timeout`.

    `artifacts` are references as the transcript keeps them; `error` has `code`,
    `message` and `retryable`. `run_id` is None for a message that a person took back
    before its turn.
    """

    run_id: UUID | None
    status: str
    text: str = ""
    artifacts: list[Any] = field(default_factory=list)
    error: dict[str, Any] | None = None


def dispatch_event(
    event_type: str,
    *,
    agent: Agent | str | None = None,
    **event: Unpack[EventArguments],
) -> Accepted:
    """Accept an event; `agent` is a row or a slug, without it the bindings choose.

    The same `event_id` of the same `source` gives the same run. Inside a transaction
    the run starts after its commit. Raises AdmissionError (its `code` says why) when
    the event is refused, DoesNotExist for an unknown slug, and ValueError for rows of
    different workspaces; nothing was written then.
    """
    return _accepted(answer_for(admit(_incoming(event_type, agent, event))))


def start_run(
    agent: Agent | str, text: str, **event: Unpack[EventArguments]
) -> Accepted:
    """Say something to an agent; raises what `dispatch_event` raises.

    Without a `conversation` the run stands alone and remembers nothing.
    """
    event["input"] = {**event.get("input", {}), "text": text}
    return dispatch_event(MESSAGE, agent=agent, **event)


def wait_for_run(run: Accepted | UUID, timeout: float = 60.0) -> RunResult:
    """Return how a run ended; raises TimeoutError after `timeout` seconds.

    A queued message is waited for until its turn is over. Raises ValueError for an
    ignored event, AgentRun.DoesNotExist, and TransactionManagementError inside a
    transaction, where the run could not even start. It asks the database only.
    """
    _check_will_end(run)
    deadline, pause = time.monotonic() + timeout, _SHORTEST_PAUSE
    while (result := _result(run)) is None:
        if connection.in_atomic_block:
            message = "a run starts after the commit: do not wait in a transaction"
            raise TransactionManagementError(message)
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_late(run, timeout)
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return result


async def adispatch_event(
    event_type: str,
    *,
    agent: Agent | str | None = None,
    **event: Unpack[EventArguments],
) -> Accepted:
    """See dispatch_event()."""
    return await sync_to_async(dispatch_event)(event_type, agent=agent, **event)


async def astart_run(
    agent: Agent | str, text: str, **event: Unpack[EventArguments]
) -> Accepted:
    """See start_run()."""
    return await sync_to_async(start_run)(agent, text, **event)


async def await_for_run(run: Accepted | UUID, timeout: float = 60.0) -> RunResult:
    """See wait_for_run(). It listens to the live stream instead of asking again."""
    await sync_to_async(_check_will_end)(run)
    answer = {"run_id": str(run)} if isinstance(run, UUID) else _answer(run)
    try:
        async with asyncio.timeout(timeout):
            run_id = await run_of(answer)
            if run_id is None:
                return RunResult(None, "cancelled")
            reply = await wait_for_reply({"run_id": str(run_id)}, timeout)
    except TimeoutError:
        raise _too_late(run, timeout) from None
    if reply is None:
        raise _too_late(run, timeout)
    return RunResult(run_id, **reply)


def _incoming(
    event_type: str, agent: Agent | str | None, event: EventArguments
) -> Incoming:
    workspace = _workspace(agent, event)
    conversation = event.get("conversation", "")
    row = conversation if isinstance(conversation, Conversation) else None
    bot = event.get("bot")
    key = row.external_id if row else str(conversation)
    return Incoming(
        workspace=workspace,
        source=f"app:{event.get('source', 'python')}"[:100],
        event_id=event.get("event_id") or str(uuid7()),
        type=event_type,
        trigger_source=TRIGGER,
        agent=_agent(agent, workspace),
        bot=BotRef(bot.public_id, bot.slug) if bot is not None else None,
        conversation=row,
        external_conversation=key,
        thread=row.thread if row else event.get("thread", ""),
        actor=storable(_actor(event.get("actor"))),
        subject=storable(dict(event["subject"])) if event.get("subject") else None,
        dry_run=event.get("dry_run", False),
        is_internal=True,
        **_documents(event, key),
    )


def _documents(event: EventArguments, key: str) -> dict[str, Any]:
    """Return the event's JSON objects, and its time where it has one."""
    given: dict[str, Any] = {
        name: storable(dict(event.get(name, {})))  # type: ignore[call-overload]  # names of the TypedDict
        for name in _JSON
    }
    given["delivery"] = {**DELIVERY, **given["delivery"], "conversation": key}
    if "time" in event:
        given["time"] = event["time"]
    return given


def _workspace(agent: Agent | str | None, event: EventArguments) -> Workspace:
    """Return the workspace of the event; every row of it has to be of that one."""
    rows = (agent, event.get("bot"), event.get("conversation"))
    owners: list[Workspace] = [
        row.workspace for row in rows if row and not isinstance(row, str)
    ]
    given = event.get("workspace")
    if isinstance(given, Workspace):
        owners.append(given)
    elif given or not owners:
        owners.append(Workspace.objects.get(slug=given or DEFAULT_WORKSPACE))
    if len({owner.pk for owner in owners}) > 1:
        message = "agent, bot, conversation and workspace belong together"
        raise ValueError(message)
    return owners[0]


def _agent(agent: Agent | str | None, workspace: Workspace) -> Agent | None:
    if isinstance(agent, str):
        return Agent.objects.get(workspace=workspace, slug=agent)
    return agent


def _actor(actor: Any) -> dict[str, Any]:
    if actor is None or isinstance(actor, Mapping):
        return dict(actor or {})
    return actor_of_user(actor)


def _accepted(answer: Mapping[str, Any]) -> Accepted:
    run_id, conversation_id = answer["run_id"], answer["conversation"]
    return Accepted(
        status=answer["status"],
        message_id=UUID(answer["message_id"]),
        run_id=UUID(run_id) if run_id else None,
        conversation_id=UUID(conversation_id) if conversation_id else None,
        reason=answer.get("reason", ""),
    )


def _answer(accepted: Accepted) -> dict[str, Any]:
    run_id = str(accepted.run_id) if accepted.run_id else None
    return {"run_id": run_id, "message_id": str(accepted.message_id)}


def _check_will_end(run: Accepted | UUID) -> None:
    if isinstance(run, UUID):
        AgentRun.objects.only("pk").get(public_id=run)
    elif run.run_id is None and run.conversation_id is None:
        message = f"the event was ignored: {run.reason}"
        raise ValueError(message)


def _result(run: Accepted | UUID) -> RunResult | None:
    run_id = run if isinstance(run, UUID) else run.run_id
    if run_id is None and isinstance(run, Accepted):
        message = find_message(run.message_id)
        if message is None or message.run is None:
            is_waiting = message is not None and message.status == QueuedStatus.QUEUED
            return None if is_waiting else RunResult(None, "cancelled")
        run_id = message.run.public_id
    reply = reply_of(run_id) if run_id is not None else None
    return RunResult(run_id, **reply) if reply is not None else None


def _too_late(run: Accepted | UUID, seconds: float) -> TimeoutError:
    named = run if isinstance(run, UUID) else run.run_id or run.message_id
    return TimeoutError(f"run {named} has not ended within {seconds:g} s")


__all__ = [
    "MESSAGE",
    "Accepted",
    "AdmissionError",
    "EventArguments",
    "RunResult",
    "adispatch_event",
    "astart_run",
    "await_for_run",
    "dispatch_event",
    "start_run",
    "wait_for_run",
]
