"""One call of the OpenAI-compatible door: a run in a conversation of its own.

The history comes with each call, so nothing is remembered between two of them.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from agents.models import Agent
from artifacts.inputs import StoredInput, register_inputs, store_inputs
from langbot.core.models import Workspace
from langbot.lib.conf import limits
from langbot.lib.ids import uuid7
from runners.admission import MESSAGE, Incoming, admit
from runners.api_surface import DELIVERY, TRIGGER
from runners.choices import ConversationKind
from runners.errors import (
    AdmissionError,
    AgentUnavailableError,
    BudgetUsedUpError,
    InputTooLargeError,
    QueueFullError,
)
from runners.incoming import with_stored_files
from runners.ledger.turns import append_transcripts
from runners.live_hub import db
from runners.models import AgentRun, Conversation, TranscriptItem
from runners.openai.errors import CallError
from runners.openai.outcomes import Outcome, outcome_of
from runners.openai.requests import Call, ChatMessage
from runners.replies import follow_to_end
from runners.services import request_cancel

_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
MODELS = 1000  # of one list


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the credentials say."""

    workspace: Workspace
    source: str
    actor: dict[str, Any]
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The run that answers a call."""

    run_id: UUID
    model: str
    created_at: datetime


def list_models(workspace: Workspace) -> list[Agent]:
    """Return the agents that may be called, by slug."""
    agents = Agent.objects.filter(workspace=workspace, archived_at=None, enabled=True)
    return list(agents.order_by("slug")[:MODELS])


def find_model(workspace: Workspace, slug: str) -> Agent:
    """Return the agent of this slug; raises CallError (404) when there is none."""
    agents = Agent.objects.filter(workspace=workspace, archived_at=None, enabled=True)
    agent = agents.filter(slug=slug).first() if _SLUG.fullmatch(slug) else None
    if agent is None:
        message = _("The model %s does not exist.") % f"`{slug}`"
        raise CallError(404, "model_not_found", message, param="model")
    return agent


def start_call(caller: Caller, call: Call) -> Started:
    """Admit the call; the same event id gives the same run.

    Raises CallError, and nothing was written then.
    """
    agent = find_model(caller.workspace, call.model)
    incoming = with_stored_files(_incoming(caller, call, agent))
    history = [
        store_inputs(caller.workspace, {"contents": said.contents})
        for said in call.messages[:-1]
    ]
    with transaction.atomic():
        conversation = _open_conversation(caller.workspace, call, history)
        run = _admit(replace(incoming, conversation=conversation))
        if run.conversation_id != conversation.pk:
            transaction.set_rollback(True)  # a repeat: its conversation is there
    return Started(run.public_id, agent.slug, run.created_at)


async def follow_call(run_id: UUID) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Yield the run's events; an empty list when nothing came for 15 s.

    A caller that leaves before the end cancels the run: nobody else reads it.
    """
    is_left = True
    try:
        async with aclosing(follow_to_end(run_id)) as batches:
            async for batch in batches:
                yield [event.document for event in batch]
        is_left = False
    finally:
        if is_left:
            await db(abandon, run_id)


async def wait_for_call(run_id: UUID, seconds: float) -> Outcome:
    """Return how the run ended; raises CallError (504) when the time is up."""
    try:
        async with asyncio.timeout(seconds), aclosing(follow_call(run_id)) as batches:
            async for _batch in batches:
                pass
    except TimeoutError:
        message = _("The answer took too long and was given up.")
        raise CallError(504, "timeout", message, retryable=False) from None
    outcome = await db(outcome_of, run_id)
    if outcome is None:  # retention took it while we waited
        raise CallError(500, "run_gone", _("The run is gone."), retryable=False)
    return outcome


def abandon(run_id: UUID) -> None:
    """Cancel a run whose caller has gone."""
    run = AgentRun.objects.filter(public_id=run_id).first()
    if run is not None:
        request_cancel(run, "the caller has gone")


def _open_conversation(
    workspace: Workspace, call: Call, history: Iterable[StoredInput]
) -> Conversation:
    conversation = Conversation.objects.create(
        workspace=workspace,
        key=f"openai:{uuid7()}",
        kind=ConversationKind.STATELESS,
        title=call.messages[-1].text[:80],
    )
    items = list(_items(conversation, call.messages[:-1], history))
    append_transcripts([(conversation, item) for item in items])
    return conversation


def _items(
    conversation: Conversation,
    messages: Iterable[ChatMessage],
    stored: Iterable[StoredInput],
) -> Iterable[TranscriptItem]:
    for said, one in zip(messages, stored, strict=True):
        yield TranscriptItem(
            role=said.role,
            text=said.text[: limits().transcript_characters],
            content=register_inputs(conversation, one)["contents"],
        )


def _incoming(caller: Caller, call: Call, agent: Agent) -> Incoming:
    said = call.messages[-1]
    given: dict[str, Any] = {"text": said.text}
    if any(element["type"] != "text" for element in said.contents):
        given["contents"] = said.contents
    return Incoming(
        workspace=caller.workspace,
        source=caller.source,
        event_id=caller.event_id or str(uuid7()),
        type=MESSAGE,
        trigger_source=TRIGGER,
        agent=agent,
        actor=caller.actor,
        input=given,
        delivery=dict(DELIVERY),
        metadata=call.metadata,
        source_event_type=f"openai.{call.kind}",
    )


def _admit(incoming: Incoming) -> AgentRun:
    try:
        run = admit(incoming).run
    except InputTooLargeError as error:
        code = "context_length_exceeded"
        raise CallError(400, code, str(error), param="messages") from None
    except QueueFullError as error:
        raise CallError(429, error.code, str(error)) from None
    except BudgetUsedUpError as error:
        wait = error.retry_after
        raise CallError(
            429, error.code, str(error), retryable=False, retry_after=wait
        ) from None
    except AgentUnavailableError as error:
        raise CallError(404, "model_not_found", str(error), param="model") from None
    except AdmissionError as error:
        raise CallError(400, error.code, str(error)) from None
    if run is None:  # an idle conversation and a named agent always give one
        raise CallError(409, "conversation_busy", _("The conversation is busy."))
    return run
