"""Two texts next to each other, line by line: versions, and saves that collide."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table; a side without a line is None."""

    left: str | None
    right: str | None
    is_same: bool


def side_by_side(left: str, right: str) -> list[Line]:
    """Return the lines of both texts, those that differ opposite each other."""
    return list(_lines(left.splitlines(), right.splitlines()))


def _lines(left: list[str], right: list[str]) -> Iterator[Line]:
    matcher = SequenceMatcher(None, left, right)
    for tag, from_left, to_left, from_right, to_right in matcher.get_opcodes():
        pairs = zip_longest(left[from_left:to_left], right[from_right:to_right])
        for one, two in pairs:
            yield Line(one, two, is_same=tag == "equal")
