"""What the codes of runs and of host calls mean, for `langbot.lib.codes`."""

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
COULD_NOT = _("Sorry, I could not answer. Please try again.")
NOT_AVAILABLE = _("The assistant is not available at the moment. Please try later.")
ASK_AUTHOR = _("Ask the author of the plugin; the timeline has the details.")

# How a run failed.
RUNS: dict[str, Explanation] = {
    "runner.error": Explanation(
        _("The runner reported an error of its own."),
        _("Read its message above, and the log of the plugin process."),
    ),
    "runner.exception": Explanation(
        _("The runner's code raised an exception."), ASK_AUTHOR
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
        _("The runner sent results that the host does not understand."), ASK_AUTHOR
    ),
    "runner.context_invalid": Explanation(
        _("The run could not be prepared from what the event contains."),
        _("Compare the event's input with the settings of the agent."),
    ),
    "runner.not_found": Explanation(
        _("No plugin offers the runner that the agent uses."),
        _("Start the plugin, or choose another runner for the agent."),
        NOT_AVAILABLE,
    ),
    "runner.not_initialized": Explanation(
        _("The plugin was not ready to execute the runner."),
        _("Wait until the plugin has started, then try again."),
        NOT_AVAILABLE,
    ),
    "runner.unavailable": Explanation(
        _("No connected plugin offered the runner within a minute."),
        _("Start the plugin process and check its token; then try again."),
        NOT_AVAILABLE,
    ),
    "runner.disabled": Explanation(
        _("The runner or its plugin is switched off."),
        _("Switch it on under “Plugins” or “Runners”, then try the run again."),
        NOT_AVAILABLE,
    ),
    "runner.no_model": Explanation(
        _("The runner needs a model, and the agent has none."),
        _("Choose a model in the settings of the agent."),
        NOT_AVAILABLE,
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
        _("Nobody decided in time, and this runner cannot go on later."),
        _("Send the message again; what is decided meanwhile is kept for it."),
        _("The answer waits for a decision. Please send your message again later."),
    ),
    "approval_expired": Explanation(
        _("Nobody decided about a tool call before it expired."),
        _("Send the message again, and have somebody look into the inbox."),
        _("Nobody allowed what the answer needs. Please try again later."),
    ),
    "client.unavailable": Explanation(
        _("No client that executes the tool answered in time."),
        _("Keep the client connected while the run goes on, or take the tool away."),
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
        NOT_AVAILABLE,
    ),
    "model.rate_limited": Explanation(
        _("The model provider gets too many requests."),
        _("Wait a little and try again, or ask the provider for a higher limit."),
        _("There are many requests at the moment. Please try again soon."),
    ),
    "model.quota_exceeded": Explanation(
        _("The account at the model provider is used up."),
        _("Add credit there, or choose a model of another provider."),
        NOT_AVAILABLE,
    ),
    "model.unavailable": Explanation(
        _("The model provider does not answer."),
        _("Check its address and its status page, then try again."),
        NOT_AVAILABLE,
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
        NOT_AVAILABLE,
    ),
    "model.address_refused": Explanation(
        _("The address of the model provider is not allowed."),
        _("Use a public address, or let the operator allow this one."),
        NOT_AVAILABLE,
    ),
}

# Why a result of a runner was not applied, or a call of it was refused.
CALLS: dict[str, Explanation] = {
    "unknown_result_type": Explanation(
        _("The runner sent a type of result that this host does not know."),
        _("It was kept and has no other effect. Update the host or the plugin."),
    ),
    "invalid_result": Explanation(
        _("A result of the runner was not valid and was left out."), ASK_AUTHOR
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
        _("A call of the runner was not valid."), ASK_AUTHOR
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
        _("The runner called for a run that is not under way."), ASK_AUTHOR
    ),
    "host.action_error": Explanation(
        _("A call to the host failed inside the plugin's SDK."), ASK_AUTHOR
    ),
    "host.malformed_response": Explanation(
        _("The plugin's SDK could not read an answer of the host."), ASK_AUTHOR
    ),
    "too_deep": Explanation(
        _("Agents called one another deeper than three runs."),
        _("Let the agent do the work itself, or shorten the chain of agents."),
    ),
}
