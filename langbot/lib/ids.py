"""Time-ordered identifiers."""

import os
import re
import threading
import time
from io import BytesIO
from typing import Any
from uuid import UUID

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAIL_BITS = 74  # rand_a (12) and rand_b (62) of RFC 9562, section 5.7
_STEP_BITS = 32  # random increments, so that neighbours cannot be guessed
_RANDOM_BYTES = 4096  # asked at once: a system call gives up the interpreter's lock


class _Sequence:
    """The last id of this process, so that the next one is greater."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.milliseconds = 0
        self.tail = 0
        self._random = BytesIO()

    def _random_bits(self, count: int) -> int:
        taken = self._random.read(size := -(-count // 8))
        if len(taken) < size:
            self._random = BytesIO(os.urandom(_RANDOM_BYTES))
            taken = self._random.read(size)
        return int.from_bytes(taken) >> (size * 8 - count)

    def advance(self) -> tuple[int, int]:
        with self.lock:
            now = time.time_ns() // 1_000_000
            step = 1 + self._random_bits(_STEP_BITS)
            if now <= self.milliseconds and self.tail + step < 1 << _TAIL_BITS:
                self.tail += step
            else:
                # The clock moved on, or this millisecond is used up: borrow the next.
                self.milliseconds = max(now, self.milliseconds + 1)
                # The top bit stays free for increments.
                self.tail = self._random_bits(_TAIL_BITS - 1)
            return self.milliseconds, self.tail


_sequence = _Sequence()


def _restart() -> None:
    """Give a forked child a sequence (and an unlocked lock) of its own."""
    global _sequence  # noqa: PLW0603 - fork copied the parent's state
    _sequence = _Sequence()


os.register_at_fork(after_in_child=_restart)


def uuid7() -> UUID:
    """Return a UUIDv7 (RFC 9562) greater than every earlier one of this process.

    Thread safe. Ids of different processes order by millisecond.
    """
    milliseconds, tail = _sequence.advance()
    rand_a, rand_b = tail >> 62, tail & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | rand_b)


def smallest_uuid7(seconds: float) -> UUID:
    """Return what no UUIDv7 made since then is below; `seconds` since the epoch."""
    return UUID(int=int(seconds * 1000) << 80)


def read_uuid(given: Any) -> UUID | None:
    """Return the id that somebody wrote, None when it is none."""
    try:
        return UUID(given)
    except (TypeError, ValueError, AttributeError):
        return None
