"""Admitting a recorded event again, as after a binding was put right."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from agents.choices import BindingScope
from agents.models import Agent
from langbot.core.audit import record_act
from langbot.lib.ids import uuid7
from runners.admission import Admitted, BotRef, Incoming, admit
from runners.bots import find_bot
from runners.choices import EventOutcome
from runners.errors import NotReplayableError
from runners.ledger.lineage import asking_run
from runners.models import AgentRun, EventLog, QueuedMessage

REPLAY_OF = "replay_of"  # in the metadata: the id of the event that is repeated


def replay_event(event: EventLog, actor: str) -> Admitted:
    """Admit the event once more under a new id; bindings decide anew who answers.

    An event for a named agent goes to that agent. Files are those of the first time.
    `actor` is the name in the audit log, which is written here. Raises an
    AdmissionError as `admit` does, NotReplayableError for what this host said itself.
    """
    incoming = _repeated(event)
    with transaction.atomic():
        admitted = admit(incoming)
        after = {"event": str(admitted.event.public_id), "status": admitted.status}
        record_act(actor, "replayed", event, after=after)
    return admitted


def _repeated(event: EventLog) -> Incoming:
    if event.outcome == EventOutcome.RECORDED or asking_run(event) is not None:
        raise NotReplayableError(_("The event did not come from outside."))
    answerer, conversation = _answerer(event), event.conversation
    known = conversation.external_id if conversation is not None else None
    return Incoming(
        workspace=event.workspace,
        source=event.source,
        event_id=f"replay:{uuid7()}",
        type=event.type,
        trigger_source=event.trigger_source,
        bot=_bot(event),
        agent=_named_agent(event, answerer),
        conversation=conversation,
        external_conversation=known or str(event.delivery.get("conversation") or ""),
        thread=event.thread,
        actor=event.actor,
        subject=event.subject,
        input=event.input,
        data=event.data,
        delivery=event.delivery,
        raw_ref=event.raw_ref,
        metadata={**event.metadata, REPLAY_OF: str(event.public_id)},
        source_event_type=event.source_event_type,
        dry_run=answerer.dry_run if answerer is not None else False,
        is_internal=True,
    )


def _bot(event: EventLog) -> BotRef | None:
    if event.bot_id is None:
        return None
    bot = find_bot(event.bot_id)
    if bot is None:
        raise NotReplayableError(_("The bot of this event is gone."))
    return bot


def _answerer(event: EventLog) -> AgentRun | QueuedMessage | None:
    """Return the run or the queued message that the event became."""
    rows: list[Any] = [
        AgentRun.objects.filter(event=event).order_by("-attempt"),
        QueuedMessage.objects.filter(event=event),
    ]
    found = (one.select_related("agent", "binding").first() for one in rows)
    return next((row for row in found if row is not None), None)


def _named_agent(
    event: EventLog, answerer: AgentRun | QueuedMessage | None
) -> Agent | None:
    """Return the agent that the sender named; None where bindings chose it."""
    if answerer is None or event.bot_id is not None:
        return None
    binding = answerer.binding
    was_named = binding is None or binding.scope == BindingScope.AGENT
    return answerer.agent if was_named else None


__all__ = ["REPLAY_OF", "replay_event"]
