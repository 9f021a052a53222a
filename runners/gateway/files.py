"""The receiving half of the plugin's file transfer (`wire.md` §2.8).

A plugin transfers a file first and names its key afterwards, in `file_ids` of a
message or of a platform call. The file then goes to the worker of the run that named
it, ahead of the frame that does.
"""

import base64
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runners.gateway.messages import own_frame
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import FILE_SLICE_BYTES, MAX_OPEN_TRANSFERS

MAX_FILE_BYTES = 4 * 1024 * 1024  # UI files, wire 3
MAX_HELD_BYTES = 32 * 1024 * 1024  # of all transfers of one plugin
_KEPT_FILES = 4
_KEY = re.compile(r"ft1_[0-9a-f]{64}(\.[A-Za-z0-9]{1,16})?")


class FileReceiver:
    """Checks slices that arrive in order; holds at most 128 transfers and 32 MiB.

    Of the complete ones, which nobody may ever name, the oldest make room. Where
    somebody asked for files, the last few are kept for as long as that.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] | None = None
        self._open: OrderedDict[str, bytearray] = OrderedDict()
        self._next: dict[str, int] = {}
        self._complete: OrderedDict[str, bytes] = OrderedDict()

    def frames_of(self, names: Any) -> list[bytes]:
        """Return what the worker gets for the files among `names`, each once."""
        given = names if isinstance(names, list) else []
        held = [one for one in given if isinstance(one, str) and one in self._complete]
        return [
            own_frame(
                {"file": key, "content": base64.b64encode(content).decode("ascii")}
            )
            for key in dict.fromkeys(held)
            for content in [self._complete.pop(key)]
        ]

    def accept(self, data: dict[str, Any]) -> None:
        """Take one `__file_chunk`; raises ProtocolError for a wrong one."""
        key, index, amount = self._checked(data)
        if index == 0:
            self._begin(key)
        if self._next.get(key) != index:
            raise _refused("slices must come in order")
        self._open[key] += self._fitting(_decoded(data))
        self._next[key] = index + 1
        if len(self._open[key]) > MAX_FILE_BYTES:
            self._forget(key)
            raise ProtocolError(ErrorCode.TOO_LARGE, "file over 4 MiB")
        if index + 1 == amount:
            self._finish(key, data.get("file_length"))

    @contextmanager
    def keeping(self) -> Iterator[Mapping[str, bytes]]:
        """Keep the files that arrive meanwhile, the last 4 of them, by their keys."""
        self._kept = OrderedDict()
        try:
            yield self._kept
        finally:
            self._kept = None

    def _checked(self, data: dict[str, Any]) -> tuple[str, int, int]:
        key, index = data.get("file_key"), data.get("chunk_index")
        amount = data.get("chunk_amount")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise _refused("file_key is not a transfer key")
        if type(index) is not int or type(amount) is not int:
            raise _refused("chunk_index and chunk_amount must be integers")
        if not 0 <= index < amount <= MAX_FILE_BYTES // FILE_SLICE_BYTES + 1:
            raise _refused("chunk_index or chunk_amount is out of range")
        return key, index, amount

    def _begin(self, key: str) -> None:
        self._forget(key)
        if len(self._open) >= MAX_OPEN_TRANSFERS:
            self._forget(next(iter(self._open)))
        self._open[key] = bytearray()
        self._next[key] = 0

    def _fitting(self, content: bytes) -> bytes:
        held = sum(map(len, (*self._open.values(), *self._complete.values())))
        while self._complete and held + len(content) > MAX_HELD_BYTES:
            _, oldest = self._complete.popitem(last=False)
            held -= len(oldest)
        if held + len(content) > MAX_HELD_BYTES:
            raise ProtocolError(ErrorCode.TOO_LARGE, "files over 32 MiB in all")
        return content

    def _finish(self, key: str, length: Any) -> None:
        arrived = self._open[key]
        self._forget(key)
        if len(arrived) != length:
            raise _refused("file_length differs from what arrived")
        if len(self._complete) >= MAX_OPEN_TRANSFERS:
            self._complete.popitem(last=False)
        self._complete[key] = bytes(arrived)
        if self._kept is not None:
            self._kept[key] = bytes(arrived)
            if len(self._kept) > _KEPT_FILES:
                self._kept.popitem(last=False)

    def _forget(self, key: str) -> None:
        self._open.pop(key, None)
        self._next.pop(key, None)


def _decoded(data: dict[str, Any]) -> bytes:
    try:
        content = base64.b64decode(str(data.get("chunk_base64") or ""), validate=True)
    except ValueError:  # also what binascii raises
        raise _refused("chunk_base64 is not base64") from None
    if len(content) > FILE_SLICE_BYTES:
        raise _refused("a slice is at most 16 KiB")
    return content


def _refused(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.INVALID_REQUEST, message)
