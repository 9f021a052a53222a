"""What a message led to, and what a test may say about it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runners.models import AgentRun, Delivery, RunEvent


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a message: `run` is its row, None when nobody answered.

    `status` is that of the run, or `ignored` with the `reason`; `text` is what the
    agent said; `error` has `code`, `message` and `retryable`.
    """

    run: "AgentRun | None"
    status: str
    text: str = ""
    error: dict[str, Any] | None = None
    artifacts: list[Any] = field(default_factory=list)
    reason: str = ""

    @property
    def events(self) -> "list[RunEvent]":
        """The run's ledger, in order."""
        return list(self.run.events.order_by("seq")) if self.run else []

    @property
    def deliveries(self) -> "list[Delivery]":
        """What waits to be sent to the platform; nothing is sent in a test."""
        return list(self.run.deliveries.order_by("pk")) if self.run else []


def assert_reply(
    reply: Reply,
    text: str | None = None,
    *,
    contains: str | None = None,
    status: str = "completed",
) -> None:
    """Assert how a message ended and, where given, what the agent said."""
    told = reply.reason or reply.error
    assert reply.status == status, f"the run is {reply.status}: {told}"  # noqa: S101  a test's own helper
    if text is not None:
        assert reply.text == text  # noqa: S101  as above
    if contains is not None:
        assert contains in reply.text  # noqa: S101  as above
