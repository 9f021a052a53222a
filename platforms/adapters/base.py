"""What an adapter is: two methods, a form, and one exception.

An adapter translates. It never touches the ledger: `platforms.intake` admits what it
parsed, `platforms.outbox` decides about retries from what it raised.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.functional import Promise

from platforms.events import MESSAGE_RECEIVED

if TYPE_CHECKING:
    from platforms.models import Bot
    from runners.models import Delivery


class AdapterError(Exception):
    """A request or a delivery that did not work; the message is safe to show.

    `permanent`: trying again cannot help. `ambiguous`: it may have arrived. `code` is
    what the sender of a refused request reads.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        ambiguous: bool = False,
        code: str = "failed",
        status_code: int | None = None,
    ) -> None:
        self.permanent, self.ambiguous = permanent, ambiguous
        self.code, self.status_code = code, status_code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class PlatformRequest:
    """A webhook call as it came in; header names are matched without case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformEvent:
    """One thing that happened on a platform, normalised (LB-02)."""

    event_id: str
    conversation: str
    type: str = MESSAGE_RECEIVED
    source_event_type: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    thread: str = ""
    actor: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, Any] | None = None
    input: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    reply_target: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the platform said about a delivered message."""

    message_id: str = ""
    status_code: int | None = None


class Adapter(ABC):
    """One platform. Instances are shared by threads and keep no state.

    `config_schema` has the items of a runner manifest; values of type `secret` live in
    `Bot.secrets`, the others in `Bot.config`. `deduplicates` says that sending with
    the same idempotency key twice is seen once, so that a doubtful send is repeated.
    `supports_edit` is for platforms that have `edit`, `actions` names what `act` does.
    Where `supports_cards` is false, what waits for a person goes as a text with a link.
    """

    kind: ClassVar[str]
    label: ClassVar[str | Promise]
    config_schema: ClassVar[list[dict[str, Any]]] = []
    deduplicates: ClassVar[bool] = False
    trigger_source: ClassVar[str] = "platform"
    surface: ClassVar[str] = "platform"
    has_webhook: ClassVar[bool] = False
    supports_edit: ClassVar[bool] = False
    supports_cards: ClassVar[bool] = False
    actions: ClassVar[frozenset[str]] = frozenset()

    def parse(self, request: PlatformRequest, bot: "Bot") -> list[PlatformEvent]:
        """Verify a webhook call and return its events; raises AdapterError."""
        message = "this platform takes no webhooks"
        raise AdapterError(message, permanent=True, code="not_found")

    def check(self, bot: "Bot") -> None:
        """Ask whether these settings work; raises AdapterError, sends nothing."""
        return

    def act(
        self, bot: "Bot", action: str, params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Do one of `actions` for a run, blocking for well under a minute.

        Returns a JSON object; raises AdapterError, `ambiguous` where it may have
        happened.
        """
        raise NotImplementedError

    def edit(self, bot: "Bot", message_id: str, delivery: "Delivery") -> SendResult:
        """Replace the text of a sent message by that of `delivery`.

        Called only where `supports_edit`; again after a doubtful outcome.
        """
        raise NotImplementedError

    @abstractmethod
    def send(self, bot: "Bot", delivery: "Delivery") -> SendResult:
        """Send one delivery, blocking for well under a minute; raises AdapterError."""
