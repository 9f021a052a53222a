"""What the codes of errors mean and what to do: one table for every reader.

The run page, `/problems/<code>` and the web chat read it. Runners may bring codes of
their own, so that a code without an entry is nothing unusual.
"""

from django.utils.translation import gettext_lazy as _

from langbot.lib.run_codes import (
    ASK_AUTHOR,
    CALLS,
    COULD_NOT,
    NOT_AVAILABLE,
    RUNS,
    Explanation,
)

# What callers of REST, of webhooks and of the chat may be told.
_REQUESTS: dict[str, Explanation] = {
    "invalid": Explanation(
        _("Some fields are not valid."),
        _("The member “errors” names each field and what is wrong with it."),
    ),
    "bad_request": Explanation(
        _("The request cannot be read."), _("Check its syntax and its encoding.")
    ),
    "parse_error": Explanation(
        _("The body is not valid JSON."), _("Send one JSON object in UTF-8.")
    ),
    "unsupported_media_type": Explanation(
        _("The body has a type that this address does not take."),
        _("Send JSON with “Content-Type: application/json”."),
    ),
    "not_acceptable": Explanation(
        _("The answer cannot be given in the type that was asked for."),
        _("Ask for “application/json”."),
    ),
    "not_authenticated": Explanation(
        _("The request carries no credentials."),
        _("Send an API token: “Authorization: Bearer <token>”."),
    ),
    "authentication_failed": Explanation(
        _("The credentials are not valid."),
        _("Use a token that has neither expired nor been revoked."),
    ),
    "insufficient_scope": Explanation(
        _("The token may not do this."), _("Use a token whose scopes include it.")
    ),
    "tool_denied": Explanation(
        _("The agent's approval policy does not let this tool run."),
        _("Add the tool to “Always run” or “Always ask” of the agent."),
    ),
    "tool_rejected": Explanation(
        _("A person rejected the tool call."),
        _("The details name who did; the message is the reason."),
    ),
    "action_resolved": Explanation(
        _("Somebody else has decided already."),
        _("The answer names who decided, when and what."),
    ),
    "action_expired": Explanation(
        _("This is no longer asked: it expired, or its run has ended."),
        _("Look at the run; send the message again to be asked anew."),
    ),
    "permission_denied": Explanation(
        _("This is not allowed."),
        _("Ask an administrator of the workspace for the permission."),
    ),
    "not_found": Explanation(
        _("There is no such object."),
        _("Check the id. Objects of other workspaces are not found either."),
    ),
    "method_not_allowed": Explanation(
        _("This address does not take this method."),
        _("The interface's documentation lists those it takes."),
    ),
    "conflict": Explanation(
        _("Another object stands in the way."),
        _("Choose another name, or remove what refers to the object."),
    ),
    "precondition_failed": Explanation(
        _("The object has changed since it was read."),
        _("Read it again, apply your change to it and send that."),
    ),
    "idempotency_key_reused": Explanation(
        _("The idempotency key was used for another request."),
        _("Use a new key for every new request."),
    ),
    "idempotency_in_progress": Explanation(
        _("A request with this idempotency key is still under way."),
        _("Send it again a little later; you will get its answer."),
    ),
    "too_large": Explanation(
        _("There is more of it than is accepted."),
        _("Send less, or in several parts."),
        _("The answer became too long and was stopped."),
    ),
    "not_held_here": Explanation(
        _("Only the address of this file is known here, not its content."),
        _("Fetch it from where it is kept."),
    ),
    "gone": Explanation(
        _("The bytes of this file are gone."),
        _("Ask whoever sent it to send it again."),
    ),
    "length_required": Explanation(
        _("The request does not say how long it is."),
        _("Send it with a “Content-Length” header."),
    ),
    "throttled": Explanation(
        _("Too many requests."), _("Wait for as long as “Retry-After” says.")
    ),
    "rate_limited": Explanation(
        _("There are too many calls in a short time."),
        _("Wait for as long as “Retry-After” says."),
    ),
    "quota_exceeded": Explanation(
        _("A budget of the person, the agent or the workspace is used up."),
        _("Wait until it begins anew, or raise it under “Quotas”."),
        _("The budget is used up for now. Please try again later."),
    ),
    "queue_full": Explanation(
        _("Too many messages of this conversation are waiting already."),
        _("Wait until the run under way has ended."),
    ),
    "conversation_busy": Explanation(
        _("Another run of the conversation is under way."),
        _("Wait for its end, or cancel it."),
    ),
    "agent_unavailable": Explanation(
        _("The agent is disabled, archived or does not take this kind of event."),
        _("Enable the agent, or add the type to its event types."),
        NOT_AVAILABLE,
    ),
    "input_too_large": Explanation(
        _("The message is longer than a message may be."), _("Send less text.")
    ),
    "empty_message": Explanation(
        _("The message is empty."),
        _("Send some text, contents or a file with it."),
        _("The message is empty."),
    ),
    "refused": Explanation(
        _("The event was refused."), _("The member “detail” says why.")
    ),
    "not_ended": Explanation(
        _("The run has not ended yet."), _("Wait for its end, or cancel it.")
    ),
    "not_steerable": Explanation(
        _("The run takes no messages up: it has ended, or its runner cannot."),
        _("Send a message to its conversation; the next turn answers it."),
    ),
    "not_replayable": Explanation(
        _("The event cannot be repeated: it came from this host, or its bot is gone."),
        _("Repeat the event that began the conversation's turn."),
    ),
    "not_retryable": Explanation(
        _("The delivery did not fail."),
        _("Look at its status: it waits, is being sent, has arrived or was given up."),
    ),
    "not_cancellable": Explanation(
        _("The delivery is being sent, or has ended."),
        _("Look at its attempts; a new message may say what has changed."),
    ),
    "version_conflict": Explanation(
        _("Somebody else wrote the value in the meantime."),
        _("Read it again and repeat the change with its “version”."),
    ),
    "not_pending": Explanation(
        _("The message does not wait any more."),
        _("Look up what became of it at “queued/<message id>/”."),
    ),
    "signature_invalid": Explanation(
        _("The signature of the webhook does not fit its body."),
        _("Check the signing secret and the clock of the sender."),
    ),
    "invalid_body": Explanation(
        _("The body of the webhook is not what the platform sends."),
        _("Compare it with the documentation of the adapter."),
    ),
    "invalid_frame": Explanation(
        _("The message on the socket is not part of the protocol."),
        _("The member “detail” names what is wrong."),
    ),
    "invalid_token": Explanation(
        _("The visitor's token is not valid for this chat."),
        _("Begin a new visit without a token."),
    ),
    "auth_timeout": Explanation(
        _("The socket got no valid token in time."),
        _("Send “auth” first; ask “runs/<id>/token/” for a token."),
    ),
    "bot_in_use": Explanation(
        _("Bindings name the bot."),
        _("Remove them first, or disable the bot instead."),
    ),
    "bot_disabled": Explanation(
        _("The chat is closed."), _("Enable the bot in the admin.")
    ),
    "unavailable": Explanation(
        _("A part of the service does not answer."),
        _("Try again soon; “/readyz?full=1” says which part it is."),
    ),
    "database_unavailable": Explanation(
        _("The database does not answer."),
        _("Try again soon; if it stays, the operator has to look."),
    ),
    "server_error": Explanation(
        _("The server met a defect; it has been logged."),
        _("Tell the operator the id in the header “X-Request-ID”."),
    ),
    "no_reply": Explanation(
        _("No run has answered the message, so there is nothing to make anew."),
        _("Wait for its answer, or send the message again."),
    ),
    "invalid_decision": Explanation(
        _("The decision does not fit what was asked."),
        _("The detail names the part that is wrong; send it again."),
    ),
    "action_refused": Explanation(
        _("The decision came too late or does not fit."),
        _("Open the action; it says who decided, when and what."),
    ),
}

EXPLANATIONS: dict[str, Explanation] = {**_REQUESTS, **CALLS, **RUNS}
UNKNOWN = Explanation(
    _("This code comes from the runner; the host does not know it."), ASK_AUTHOR
)


def explain(code: str) -> Explanation:
    """Return what a code means, `UNKNOWN` for one of a runner's own."""
    return EXPLANATIONS.get(code, UNKNOWN)


def visitor_texts() -> dict[str, str]:
    """Return what chat visitors read, by code; that of "" is for all other codes."""
    texts = {
        code: str(explanation.visitor)
        for code, explanation in EXPLANATIONS.items()
        if explanation.visitor
    }
    return {"": str(COULD_NOT), **texts}


__all__ = ["EXPLANATIONS", "UNKNOWN", "Explanation", "explain", "visitor_texts"]
