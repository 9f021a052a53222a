"""Whether reading a page of history stays as fast when the history grows."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SIZES = (10**3, 10**5, 10**6)
QUICK_SIZES = (10**3, 10**4)
PAGE_LIMIT = 50
# How often each kind of page is read at each size; the median counts.
_REPEATS = 30


class History(Protocol):
    """One conversation in a real database, read by the real service."""

    def grow_to(self, size: int) -> None:
        """Add transcript items until the conversation has `size`."""

    def page(self, before_cursor: str | None, limit: int) -> Any:
        """Read one page backwards; has `next_cursor` when there is more."""


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Median seconds to read the newest page and one in the middle."""

    size: int
    newest: float
    middle: float


def measure_history(
    history: History,
    middle_cursor: Callable[[int], str],
    sizes: Sequence[int] = SIZES,
) -> list[PageTimes]:
    """Read pages at each size; `middle_cursor` names the middle of so many items."""
    found = []
    for size in sizes:
        history.grow_to(size)
        newest = _median_seconds(history, None)
        middle = _median_seconds(history, middle_cursor(size))
        found.append(PageTimes(size, newest, middle))
    return found


def _median_seconds(history: History, cursor: str | None) -> float:
    history.page(cursor, PAGE_LIMIT)
    times = []
    for _ in itertools.repeat(None, _REPEATS):
        began = time.perf_counter()
        history.page(cursor, PAGE_LIMIT)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def growth(times: Sequence[PageTimes]) -> float:
    """Return how many times slower the worst size is than the best."""
    newest = [item.newest for item in times]
    middle = [item.middle for item in times]
    return max(max(newest) / min(newest), max(middle) / min(middle))
