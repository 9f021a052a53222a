"""What is kept of the output of a packaged plugin: redacted and bounded (LB-163)."""

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from langbot.lib.buckets import LocalBucket
from langbot.lib.redaction import REDACTED

LINE_BYTES: Final = 8 * 1024
TAIL_CHARACTERS: Final = 16 * 1024
# A plugin that writes faster loses lines, and the log says how many.
BYTES_PER_SECOND: Final = 64 * 1024
BURST_BYTES: Final = 1024 * 1024
_CUT = b" [cut]"
_SECRETS = re.compile(
    r"""(?P<token>\blb[pt]_[A-Za-z0-9_-]{8,})
    | (?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}
    | (?P<user>://[^/\s:@]*:)[^/\s@]+(?=@)
    | (?P<name>\b[\w-]*(?:secret|token|api[_-]?key|password|passwd|credential)[\w-]*
        ["']?\s*[:=]\s*["']?)[^\s"',;&]+
    | (?P<key>\bsk-[A-Za-z0-9_-]{16,})
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without these secrets, and without what looks like one."""
    for secret in filter(None, secrets):
        text = text.replace(secret, REDACTED)
    return _SECRETS.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    kept = found["scheme"] or found["user"] or found["name"] or ""
    return f"{kept}{REDACTED}"


class OutputGuard:
    """Cuts output into lines, takes secrets out, and drops what is too much.

    `sink` is given each kept line without its end. One per process.
    """

    def __init__(
        self, sink: Callable[[str], None], secrets: Iterable[str] = ()
    ) -> None:
        self._sink, self._secrets = sink, tuple(secrets)
        self._pending = b""
        self._is_skipping = False
        self._bucket = LocalBucket(BYTES_PER_SECOND, BURST_BYTES)
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take what was read; no bytes mean that the process closed its output."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            if not self._is_skipping:
                self._take(line)
            self._is_skipping = False
        if self._is_skipping:
            self._pending = b""
        elif len(self._pending) > LINE_BYTES:
            self._take(self._pending)
            self._pending, self._is_skipping = b"", True
        if not data:
            self._take(self._pending)
            self._pending = b""
            self._tell_dropped()

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        if self._bucket.take(len(line)):
            self._dropped += 1
            return
        self._tell_dropped()
        if len(line) > LINE_BYTES:
            line = line[:LINE_BYTES] + _CUT
        self._sink(redact_text(line.decode(errors="replace").rstrip(), self._secrets))

    def _tell_dropped(self) -> None:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._sink(f"[{count} lines were dropped: too much output]")


class Tail:
    """The last lines of a log, up to `limit` characters."""

    def __init__(self, limit: int = TAIL_CHARACTERS) -> None:
        self._limit = limit
        self._lines: deque[str] = deque()
        self._size = 0
        self.has_changed = False

    def add(self, line: str) -> None:
        """Add a line; the oldest ones go."""
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._limit and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()) + 1
        self.has_changed = True

    def text(self) -> str:
        """Return what is kept."""
        self.has_changed = False
        return "\n".join(self._lines).replace("\x00", "")
