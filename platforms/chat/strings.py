"""What the chat's script says, in the reader's language."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from langbot.lib.codes import visitor_texts
from runners.choices import ActionStatus as Status


def chat_strings() -> dict[str, Any]:
    """Return the texts by the names that `static/langbot_chat/chat.js` uses.

    `failures` has one for each code of a failed run, and one for all others under "".
    """
    return {
        "failures": visitor_texts(),
        "you": _("You"),
        "agent": _("Agent"),
        "notice": _("Notice"),
        "connecting": _("Connecting…"),
        "offline": _("Connection lost. Trying again…"),
        "ready": _("Connected"),
        "working": _("Answering…"),
        "queued": _("Waiting for its turn"),
        "sending": _("Sending…"),
        "incomplete": _("Stopped"),
        "unfinished": _("Not finished"),
        "again": _("Answer again"),
        "again_replaces": _(
            "What was said after this answer goes with it. Messages of yours that go: "
            "%(count)s."
        ),
        "keep": _("Keep everything"),
        "files": _("Files"),
        "file": _("File"),
        "file_gone": _("not available"),
        "conversation_busy": _("Please wait for the answer, or stop it."),
        "ignored": _("Nobody is set up to answer here."),
        "reasoning": _("Reasoning"),
        "paused": _("Waiting for a person to decide"),
        "question": _("A question"),
        "approval": _("A step waits for approval"),
        "approval_over": _("A step that needed approval"),
        "waits_for_approval": _("Waiting for somebody who may approve it."),
        "send_answer": _("Send the answer"),
        "dismiss": _("Do not answer"),
        "choose": _("Choose at least one."),
        "approve": _("Approve"),
        "reject": _("Reject"),
        "reason": _("Reason (optional)"),
        "arguments": _("Arguments"),
        "outcomes": _outcomes(),
        "action_resolved": _("This has been decided already."),
        "action_expired": _("This is no longer asked."),
        "invalid_decision": _("Please check your answer."),
        "withdrawn": _("This message was withdrawn."),
        "withdraw": _("Take back"),
        "error": _("That did not work. Please try again."),
        "queue_full": _("Too many messages are waiting. Please wait for an answer."),
        "rate_limited": _("You are writing too fast. Please wait a moment."),
        "input_too_large": _("This message is too long."),
        "bot_disabled": _("This chat is closed."),
        "agent_unavailable": _("Nobody answers here at the moment."),
        "unavailable": _("The service does not answer. Please try again soon."),
    }


def _outcomes() -> dict[str, str]:
    return {
        Status.APPROVED: pgettext("what became of it", "Approved"),
        Status.EDITED: pgettext("what became of it", "Approved with changes"),
        Status.REJECTED: pgettext("what became of it", "Rejected"),
        Status.RESPONDED: pgettext("what became of it", "Answered"),
        Status.EXPIRED: pgettext("what became of it", "No longer asked"),
        Status.CANCELLED: pgettext("what became of it", "No longer asked"),
    }
