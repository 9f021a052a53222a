"""Why an event was not accepted; each is safe to show to its sender."""

from django.utils.translation import gettext as _


class AdmissionError(Exception):
    """Base: the event was refused and nothing was written."""

    code = "refused"


class QueueFullError(AdmissionError):
    """The conversation already holds its limit of waiting messages (AG-04, C-04)."""

    code = "queue_full"

    def __init__(self, length: int, maximum: int) -> None:
        self.length, self.maximum = length, maximum
        super().__init__(
            _("%(length)d of %(maximum)d messages are waiting already.")
            % {"length": length, "maximum": maximum}
        )


class AgentUnavailableError(AdmissionError):
    """The named agent is disabled, archived or does not take this event type."""

    code = "agent_unavailable"


class InputTooLargeError(AdmissionError):
    """The text is longer than a message may be (AG-05)."""

    code = "input_too_large"
