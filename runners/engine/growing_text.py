"""A text that grows by many small pieces."""


class GrowingText:
    """Joins its pieces when it is read: adding one does not copy those before it.

    With `+=` a reply of a megabyte in deltas of 20 characters copies 25 GB.
    """

    __slots__ = ("_length", "_pieces")

    def __init__(self, text: str = "") -> None:
        self._pieces = [text]
        self._length = len(text)

    def add(self, piece: str) -> None:
        """Put `piece` at the end."""
        self._pieces.append(piece)
        self._length += len(piece)

    def added_by(self, content: str) -> str:
        """Return the part of `content` that is new.

        Content that begins with the text so far is all of it, else only what is added.
        """
        if len(content) < self._length or not content.startswith(str(self)):
            return content
        return content[self._length :]

    def __len__(self) -> int:
        return self._length

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]
