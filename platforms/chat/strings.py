"""What the chat's script says, in the reader's language."""

from django.utils.translation import gettext as _


def chat_strings() -> dict[str, str]:
    """Return the texts by the names that `static/chat/chat.js` uses."""
    return {
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
        "ignored": _("Nobody is set up to answer here."),
        "paused": _("Waiting for a person to decide"),
        "withdrawn": _("This message was withdrawn."),
        "error": _("That did not work. Please try again."),
        "queue_full": _("Too many messages are waiting. Please wait for an answer."),
        "rate_limited": _("You are writing too fast. Please wait a moment."),
        "input_too_large": _("This message is too long."),
        "bot_disabled": _("This chat is closed."),
        "agent_unavailable": _("Nobody answers here at the moment."),
        "unavailable": _("The service does not answer. Please try again soon."),
    }
