"""Takes a leading `<think>…</think>` block out of text that arrives in pieces."""

OPENING, CLOSING = "<think>", "</think>"


class ThinkFilter:
    """Feed it pieces of one answer; it returns what is not thinking.

    Only a block at the very start is thinking: later the tag is something that the
    answer talks about. With `enabled=False` everything passes unchanged.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._state = "start" if enabled else "text"
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the visible part of `piece`, and of what was held back before."""
        if self._state == "text":
            return piece
        self._held += piece
        if self._state == "start":
            self._begin()
        if self._state == "thinking":
            self._skip()
        if self._state == "gap":
            self._held = self._held.lstrip()
            self._state = "text" if self._held else "gap"
        if self._state != "text":
            return ""
        held, self._held = self._held, ""
        return held

    def end(self) -> str:
        """Return text that only looked as if a block might begin."""
        held, self._held = self._held, ""
        return held if self._state == "start" else ""

    def _begin(self) -> None:
        text = self._held.lstrip()
        if text.startswith(OPENING):
            self._state, self._held = "thinking", text[len(OPENING) :]
        elif not OPENING.startswith(text):
            self._state = "text"

    def _skip(self) -> None:
        _, found, after = self._held.partition(CLOSING)
        if found:
            self._state, self._held = "gap", after
        else:
            # Enough to recognise a closing tag that is split over two pieces.
            self._held = self._held[-len(CLOSING) + 1 :]
