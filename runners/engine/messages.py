"""The messages of one run: what its reply consists of, and what was sent before."""

from collections.abc import Sequence
from typing import Any

from runners.engine.snapshot import RunFacts
from runners.ledger.finishing import Reply
from runners.ledger.frozen import shows_thoughts

FinishedMessage = tuple[str, Any]  # its text, and its parts if it has other than text


class RunMessages:
    """Finished messages, in order. Those the runner sent itself are no reply again."""

    def __init__(self) -> None:
        self.finished: list[FinishedMessage] = []
        self.sent: list[str] = []
        self.thoughts: list[str] = []  # blocks of thinking, no part of the reply

    def __bool__(self) -> bool:
        return bool(self.finished or self.sent)

    @property
    def last(self) -> str:
        """The text of the last message, empty without one."""
        return self.finished[-1][0] if self.finished else ""

    def think(self, text: str, facts: RunFacts, *, is_new: bool) -> dict[str, Any]:
        """Add to a block of thinking; returns what its event says beside the text."""
        if is_new or not self.thoughts:
            self.thoughts.append("")
        self.thoughts[-1] += text
        hidden = {} if shows_thoughts(facts.snapshot) else {"hidden": True}
        return {"block": len(self.thoughts), **hidden}

    def resume(
        self,
        messages: Sequence[FinishedMessage],
        sent: Sequence[str] = (),
        thoughts: Sequence[str] = (),
    ) -> int:
        """Take what was finished and sent before; returns its number of characters."""
        self.finished, self.sent = [*messages], [*sent]
        self.thoughts = [*thoughts]
        return sum(map(len, [*(text for text, _ in messages), *sent]))

    def has(self, text: str) -> bool:
        """Whether a message with this text was finished or sent before."""
        return text in self.sent or any(text == known for known, _ in self.finished)

    def reply(
        self, open_text: str, files: list[dict[str, Any]], *, complete: bool
    ) -> Reply | None:
        """Return what is still to be delivered, with the text that was not ended."""
        messages = [*self.finished]
        if open_text:
            messages.append((open_text, None))
        texts = [text for text, _ in messages if text]
        contents = [part for _, content in messages if content for part in content]
        if not (texts or contents or files or self.thoughts):
            return None
        text = "\n\n".join(texts)
        return Reply(text, contents or None, complete, files, self.thoughts)
