"""Why an event was not accepted; each is safe to show to its sender."""

from uuid import UUID

from django.utils.translation import gettext as _

from agents.resources.budgets import QuotaExceededError


class AdmissionError(Exception):
    """Base: the event was refused and nothing was written."""

    code = "refused"
    retry_after: int | None = None
    """Seconds after which it may be accepted, where that is known."""


class QueueFullError(AdmissionError):
    """The conversation already holds its limit of waiting messages (AG-04, C-04)."""

    code = "queue_full"

    def __init__(self, length: int, maximum: int) -> None:
        self.length, self.maximum = length, maximum
        super().__init__(
            _("%(length)d of %(maximum)d messages are waiting already.")
            % {"length": length, "maximum": maximum}
        )


class TooManyFollowUpsError(AdmissionError):
    """One person adds to queues more often than 30 times in 60 s (AG-08)."""

    code = "rate_limited"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            _("Too many messages are sent while others wait. Try again in %d s.")
            % retry_after
        )


class BudgetUsedUpError(AdmissionError):
    """A quota of the person, the agent or the workspace is used up (AG-85)."""

    code = "quota_exceeded"

    def __init__(self, error: QuotaExceededError) -> None:
        self.retry_after = error.retry_after
        self.resets_at, self.scope, self.window = (
            error.resets_at,
            error.scope,
            error.window,
        )
        super().__init__(str(error))


class AgentUnavailableError(AdmissionError):
    """The named agent is disabled, archived or does not take this event type."""

    code = "agent_unavailable"


class InputTooLargeError(AdmissionError):
    """The text is longer than a message may be (AG-05)."""

    code = "input_too_large"


class EmptyMessageError(AdmissionError):
    """A message that says nothing: blank text, no contents, no files."""

    code = "empty_message"

    def __init__(self) -> None:
        super().__init__(_("The message is empty."))


class ConversationBusyError(AdmissionError):
    """Another run of the conversation is under way; it ends first."""

    code = "conversation_busy"

    def __init__(self, run_id: UUID | None) -> None:
        self.run_id = run_id
        super().__init__(_("The conversation is busy with run %s.") % run_id)


class NotSteerableError(AdmissionError):
    """The run has ended, is being stopped, or its runner takes nothing up meanwhile."""

    code = "not_steerable"

    def __init__(self) -> None:
        super().__init__(
            _("The run has ended or is being stopped, or its runner takes nothing up.")
        )


class NoReplyError(AdmissionError):
    """No run has answered the message, so that there is nothing to make anew."""

    code = "no_reply"

    def __init__(self) -> None:
        super().__init__(_("No agent has answered this message."))


class NotEndedError(AdmissionError):
    """Only a run that has ended is tried again."""

    code = "not_ended"


class NotReplayableError(AdmissionError):
    """The event did not come from outside, or its bot is gone."""

    code = "not_replayable"
