"""The messages of one run: what its reply consists of, and what was sent before."""

from collections.abc import Sequence
from typing import Any

from runners.ledger.finishing import Reply

SaidMessage = tuple[str, Any]  # its text, and its parts where it has others than text


class Said:
    """Finished messages, in order. Those the runner sent itself are no reply again."""

    def __init__(self) -> None:
        self.messages: list[SaidMessage] = []
        self.sent: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.messages or self.sent)

    @property
    def last(self) -> str:
        """The text of the last message, empty without one."""
        return self.messages[-1][0] if self.messages else ""

    def resume(self, messages: Sequence[SaidMessage], sent: Sequence[str] = ()) -> int:
        """Take what was said and sent before; returns how many characters it has."""
        self.messages, self.sent = [*messages], [*sent]
        return sum(map(len, [*(text for text, _ in messages), *sent]))

    def has(self, text: str) -> bool:
        """Whether a message with this text was said or sent before."""
        return text in self.sent or any(text == said for said, _ in self.messages)

    def reply(
        self, open_text: str, files: list[dict[str, Any]], *, complete: bool
    ) -> Reply | None:
        """Return what is still to be delivered, with the text that was not ended."""
        said = [*self.messages]
        if open_text:
            said.append((open_text, None))
        texts = [text for text, _ in said if text]
        contents = [part for _, content in said if content for part in content]
        if not texts and not contents and not files:
            return None
        return Reply("\n\n".join(texts), contents or None, complete, files)
