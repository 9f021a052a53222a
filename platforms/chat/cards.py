"""What waits for a person, as the chat shows it: to the visitor, and to who decides.

The visitor answers questions. A tool call is approved by signed-in people with the
right to, who alone see what it is; everybody sees that it waits, and what became of
it.
"""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from langbot.core.access import workspace_ids
from langbot.core.authors import Author
from langbot.core.permissions import RESOLVE_ACTION
from langbot.lib.redaction import redact
from platforms.chat.visits import ChatError, Visit, check_rate, conversations
from platforms.models import Bot
from runners.action_forms import refusal_text, resolution_text, title_of
from runners.actions import (
    ActionError,
    Decider,
    Decision,
    resolve_action,
)
from runners.choices import ActionKind, ActionStatus
from runners.models import PendingAction

CHAT = "chat"  # the door, as the audit log names it
_MOST = 20  # the latest of a visitor


def cards_of(visit: Visit) -> list[dict[str, Any]]:
    """Return the visitor's latest cards, oldest first; without arguments."""
    rows = _actions(visit).select_related("run").order_by("-pk")[:_MOST]
    return [_card(action) for action in reversed(rows) if action.is_usable]


def answer(visit: Visit, action_id: UUID, values: dict[str, Any] | None) -> None:
    """Answer a question of the visitor's own; None dismisses it.

    Raises ChatError, of code `action_resolved` for who came too late, or an
    AdmissionError.
    """
    check_rate(visit)
    asked = _actions(visit).filter(public_id=action_id, kind=ActionKind.QUESTION)
    if not asked.exists():
        raise ChatError("not_found", "there is no such question here")
    decision = Decision(decision="respond", values=values)
    if values is None:
        decision = Decision(decision="reject")
    decider = Decider(name=Author(_("Visitor"), CHAT, may_write_secrets=False))
    try:
        resolve_action(action_id, decision, decider)
    except ActionError as error:
        raise ChatError(error.code, refusal_text(error)) from None


def may_decide(user: Any, bot: Bot) -> bool:
    """Whether a signed-in person approves tool calls in the chats of a bot."""
    if not user.is_authenticated or not user.has_perm(RESOLVE_ACTION):
        return False
    return bool(user.is_superuser) or bot.workspace_id in workspace_ids(user)


def approvals_of(bot: Bot) -> QuerySet[PendingAction]:
    """Select what was asked in the chats of a bot."""
    rows = PendingAction.objects.select_related("agent", "conversation", "workspace")
    return rows.filter(
        workspace=bot.workspace_id,
        conversation__bot_id=bot.public_id,
        kind=ActionKind.APPROVAL,
    )


def details_of(action: PendingAction) -> dict[str, Any]:
    """Return what who decides has to see; secrets are masked."""
    return {
        "id": str(action.public_id),
        "status": _status_of(action),
        "title": title_of(action),
        "tool": action.tool_name,
        "arguments": redact(action.arguments),
        "reason": action.reason,
        "resolution": "" if action.is_open else resolution_text(action),
    }


def _actions(visit: Visit) -> QuerySet[PendingAction]:
    return PendingAction.objects.filter(conversation__in=conversations(visit))


def _card(action: PendingAction) -> dict[str, Any]:
    is_question = action.kind == ActionKind.QUESTION
    card: dict[str, Any] = {
        "id": str(action.public_id),
        "kind": action.kind,
        "status": _status_of(action),
        "title": str((action.form or {}).get("title") or ""),
        "created_at": action.created_at.isoformat(),
    }
    if is_question and action.is_open:
        card["form"] = action.form
    return card


def _status_of(action: PendingAction) -> str:
    """Return its status, `expired` also before the sweep has written so."""
    is_over = action.status == ActionStatus.OPEN and not action.is_open
    return str(ActionStatus.EXPIRED if is_over else action.status)


__all__ = ["answer", "approvals_of", "cards_of", "details_of", "may_decide"]
