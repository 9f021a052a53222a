"""Questions of runners to people: kept with the run's results, answered by an event.

A question outlives its run. Its answer is the next event of the conversation, type
`interaction.submitted`, and starts a run of its own, or waits for the one under way,
as any message does (`wire.md` §6.1).
"""

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from langbot.core.access import actor_of_user
from langbot.lib.conf import limits
from langbot.lib.models import lock_rows
from runners.admission import BotRef, Incoming, admit
from runners.bots import find_bot
from runners.choices import Role
from runners.decisions import BUTTON, Decider, Decision
from runners.ledger.turns import append_transcripts
from runners.models import Conversation, EventLog, PendingAction, TranscriptItem
from runners.sdk.interactions import SUBMITTED

if TYPE_CHECKING:
    from runners.models import AgentRun


def lock_place(action: PendingAction) -> None:
    """Lock the question's conversation, before its own row is touched."""
    lock_rows(Conversation.objects.filter(pk=action.conversation_id))


def submit_answer(action: PendingAction, decision: Decision, decider: Decider) -> None:
    """Admit the answer of a person as the next event of the conversation.

    A question that was dismissed gets none. Raises an AdmissionError.
    """
    now = datetime.now(UTC)
    action.settled_at = now
    PendingAction.objects.filter(pk=action.pk).update(settled_at=now)
    if decision.decision != "respond":
        return
    admitted = admit(_incoming(action, decision, decider))
    if admitted.conversation is not None:
        # What a queued row has counted meanwhile is in no other instance.
        place = Conversation.objects.get(pk=admitted.conversation.pk)
        item = TranscriptItem(
            role=Role.USER,
            item_type="interaction",
            text=_in_words(action, decision)[: limits().transcript_characters],
            event=admitted.event,
            run=admitted.run,
            actor_name=action.decided_by_name,
        )
        append_transcripts([(place, item)])


def _incoming(action: PendingAction, decision: Decision, decider: Decider) -> Incoming:
    asked = _event_of(action)
    conversation = action.conversation
    return Incoming(
        workspace=action.workspace,
        source=f"user:{decider.user.pk}" if decider.user else asked.source,
        event_id=f"{action.public_id}:answer",
        type=SUBMITTED,
        trigger_source=asked.trigger_source,
        bot=_bot(conversation),
        agent=action.agent,
        conversation=conversation,
        external_conversation=conversation.external_id,
        thread=conversation.thread,
        actor=_actor(asked, decider),
        input={"interaction": _submission(action, decision)},
        data={"interaction_id": action.form["interaction_id"]},
        delivery=asked.delivery,
        metadata={"action_id": str(action.public_id)},
        is_internal=True,
    )


def _event_of(action: PendingAction) -> EventLog:
    """Return the event that led to the question; its reply goes where that came from.

    Retention may have removed the run: then what was said last there.
    """
    run: AgentRun | None = action.run
    if run is not None:
        return run.event
    events = EventLog.objects.filter(conversation=action.conversation_id)
    return events.exclude(trigger_source="system").order_by("-pk").first() or EventLog(
        source=f"action:{action.public_id}", trigger_source="system"
    )


def _bot(conversation: Conversation) -> BotRef | None:
    return find_bot(conversation.bot_id) if conversation.bot_id else None


def _actor(asked: EventLog, decider: Decider) -> dict[str, Any]:
    if decider.user is not None:
        return actor_of_user(decider.user)
    return {**asked.actor, **({"name": str(decider.name)} if decider.name else {})}


def _submission(action: PendingAction, decision: Decision) -> dict[str, Any]:
    values = dict(decision.values or {})
    button = values.pop(BUTTON, None)
    return {
        "interaction_id": action.form["interaction_id"],
        "action_id": button,
        "values": values,
        "submitted_at": int(time.time()),
    }


def _in_words(action: PendingAction, decision: Decision) -> str:
    """Return the answer as people read it in the transcript."""
    form, values = action.form, decision.values or {}
    labels = {button["id"]: button["label"] for button in form.get("actions") or []}
    lines = [str(form.get("title") or _("Answer"))]
    if values.get(BUTTON) in labels:
        lines.append(labels[values[BUTTON]])
    for field in form.get("fields") or []:
        if values.get(field["id"]) is not None:
            shown = values[field["id"]]
            text = shown if isinstance(shown, str) else json.dumps(shown)
            lines.append(f"{field['label']}: {text}")
    return "\n".join(lines)
