"""What the codes of errors mean and what to do: one table for every reader.

The run page, `/problems/<code>` and the web chat read it. Runners may bring codes of
their own, so that a code without an entry is nothing unusual.
"""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code in plain words; the texts are translated when they are shown.

    `visitor` is what people in a chat read; they cannot do what `advice` says.
    """

    meaning: Any
    advice: Any
    visitor: Any = ""


_TOOK_TOO_LONG = _("The answer took too long and was stopped. Please try again.")
_COULD_NOT = _("Sorry, I could not answer. Please try again.")
_NOT_AVAILABLE = _("The assistant is not available at the moment. Please try later.")
_ASK_AUTHOR = _("Ask the author of the plugin; the timeline has the details.")

# How a run failed.
_RUNS: dict[str, Explanation] = {
    "runner.error": Explanation(
        _("The runner reported an error of its own."),
        _("Read its message above, and the log of the plugin process."),
    ),
    "runner.exception": Explanation(
        _("The runner's code raised an exception."), _ASK_AUTHOR
    ),
    "runner.timeout": Explanation(
        _("The run did not end before its deadline."),
        _("Give the agent a longer deadline, or find out what it waited for."),
        _TOOK_TOO_LONG,
    ),
    "runner.idle": Explanation(
        _("The runner said nothing for too long, so the run was ended."),
        _("Look at the last event of the timeline: what did the runner wait for?"),
        _TOOK_TOO_LONG,
    ),
    "runner.empty_output": Explanation(
        _("The runner ended without saying anything."),
        _("Check the prompt and the model of the agent, then try again."),
    ),
    "runner.protocol_error": Explanation(
        _("The runner sent results that the host does not understand."), _ASK_AUTHOR
    ),
    "runner.context_invalid": Explanation(
        _("The run could not be prepared from what the event contains."),
        _("Compare the event's input with the settings of the agent."),
    ),
    "runner.not_found": Explanation(
        _("No plugin offers the runner that the agent uses."),
        _("Start the plugin, or choose another runner for the agent."),
        _NOT_AVAILABLE,
    ),
    "runner.not_initialized": Explanation(
        _("The plugin was not ready to execute the runner."),
        _("Wait until the plugin has started, then try again."),
        _NOT_AVAILABLE,
    ),
    "runner.unavailable": Explanation(
        _("No connected plugin offered the runner within a minute."),
        _("Start the plugin process and check its token; then try again."),
        _NOT_AVAILABLE,
    ),
    "runner.disabled": Explanation(
        _("The runner or its plugin is switched off."),
        _("Switch it on under “Plugins” or “Runners”, then try the run again."),
        _NOT_AVAILABLE,
    ),
    "runner.no_model": Explanation(
        _("The runner needs a model, and the agent has none."),
        _("Choose a model in the settings of the agent."),
        _NOT_AVAILABLE,
    ),
    "cancelled": Explanation(
        _("Somebody stopped the run."),
        _("Nothing to do. What was said until then is kept."),
        _("The answer was stopped."),
    ),
    "connection_lost": Explanation(
        _("The connection to the plugin broke while the run was under way."),
        _("Check whether the plugin or web process was restarted, then try again."),
        _("The answer was interrupted. Please send your message again."),
    ),
    "host_lost": Explanation(
        _("The worker that carried the run is gone, and none could go on."),
        _("Check that workers are alive, then try again."),
        _("The answer was interrupted. Please send your message again."),
    ),
    "backpressure": Explanation(
        _("The runner sent more than could be recorded."),
        _("Let the runner send fewer or larger pieces, or add workers."),
    ),
    "approval_not_resumable": Explanation(
        _("A person decided after the wait, and this runner cannot go on then."),
        _("Send the message again; the decision is kept."),
    ),
    "runtime_error": Explanation(
        _("The host met a defect of its own while it carried the run."),
        _("Try again; if it stays, read the log of the worker."),
    ),
    "model.error": Explanation(
        _("The model could not be called."),
        _("Check the provider under “Model providers”, then try again."),
    ),
    "model.timeout": Explanation(
        _("The model did not answer in time."),
        _("Try again; if it stays, choose a faster model or a longer time limit."),
        _TOOK_TOO_LONG,
    ),
    "model.unauthorized": Explanation(
        _("The model provider refused the API key."),
        _("Enter a valid key under “Model providers”."),
        _NOT_AVAILABLE,
    ),
    "model.rate_limited": Explanation(
        _("The model provider gets too many requests."),
        _("Wait a little and try again, or ask the provider for a higher limit."),
        _("There are many requests at the moment. Please try again soon."),
    ),
    "model.quota_exceeded": Explanation(
        _("The account at the model provider is used up."),
        _("Add credit there, or choose a model of another provider."),
        _NOT_AVAILABLE,
    ),
    "model.unavailable": Explanation(
        _("The model provider does not answer."),
        _("Check its address and its status page, then try again."),
        _NOT_AVAILABLE,
    ),
    "model.bad_request": Explanation(
        _("The model provider refused the request as not valid."),
        _("Check the settings of the model, and whether the conversation is too long."),
    ),
    "model.bad_response": Explanation(
        _("The model provider answered with something unreadable."),
        _("Check that its address leads to an OpenAI-compatible interface."),
    ),
    "model.not_found": Explanation(
        _("The model provider has no model of this name."),
        _("Correct the model's name."),
        _NOT_AVAILABLE,
    ),
    "model.address_refused": Explanation(
        _("The address of the model provider is not allowed."),
        _("Use a public address, or let the operator allow this one."),
        _NOT_AVAILABLE,
    ),
}

# Why a result of a runner was not applied, or a call of it was refused.
_CALLS: dict[str, Explanation] = {
    "unknown_result_type": Explanation(
        _("The runner sent a type of result that this host does not know."),
        _("It was kept and has no other effect. Update the host or the plugin."),
    ),
    "invalid_result": Explanation(
        _("A result of the runner was not valid and was left out."), _ASK_AUTHOR
    ),
    "state_refused": Explanation(
        _("The runner wanted to keep state that it may not keep."),
        _("Allow the scope in the agent's state policy, if it should."),
    ),
    "action.not_found": Explanation(
        _("The runner called something that this host does not offer."),
        _("Update the host or the plugin."),
    ),
    "invalid_request": Explanation(
        _("A call of the runner was not valid."), _ASK_AUTHOR
    ),
    "deadline_exceeded": Explanation(
        _("A call of the runner took longer than the run may."),
        _("Give the agent a longer deadline."),
        _TOOK_TOO_LONG,
    ),
    "outcome_unknown": Explanation(
        _("A call may have had its effect, but its answer was lost."),
        _("Look whether the effect is there before you try again."),
    ),
    "not_available": Explanation(
        _("The runner asked for a part that this host or platform does not have."),
        _("Install what it needs, or let the runner do without."),
    ),
    "platform.error": Explanation(
        _("The platform of a bot refused what the runner wanted to do there."),
        _("Read the message; check the bot under “Bots”."),
    ),
    "run.not_active": Explanation(
        _("The runner called for a run that is not under way."), _ASK_AUTHOR
    ),
    "host.action_error": Explanation(
        _("A call to the host failed inside the plugin's SDK."), _ASK_AUTHOR
    ),
    "host.malformed_response": Explanation(
        _("The plugin's SDK could not read an answer of the host."), _ASK_AUTHOR
    ),
}

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
        _NOT_AVAILABLE,
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
}

EXPLANATIONS: dict[str, Explanation] = {**_REQUESTS, **_CALLS, **_RUNS}
UNKNOWN = Explanation(
    _("This code comes from the runner; the host does not know it."), _ASK_AUTHOR
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
    return {"": str(_COULD_NOT), **texts}


__all__ = ["EXPLANATIONS", "UNKNOWN", "Explanation", "explain", "visitor_texts"]
