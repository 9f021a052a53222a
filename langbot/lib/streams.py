"""One blocking XREAD over any number of streams, for one process.

Adding a stream must not wait for the running XREAD to time out, so every reader
watches a stream of its own and is woken through it. Cancelling the read instead
would leave a half-read reply on the connection.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langbot.lib.exchange import Exchange
from langbot.lib.ids import uuid7
from langbot.lib.redis import BLOCK_MILLISECONDS, FAILURES, reader_wake, stream_client

logger = logging.getLogger(__name__)

Entry = tuple[bytes, dict[bytes, bytes]]
OnEntries = Callable[[list[Entry]], None]

_PER_STREAM = 200
_RETRY_SECONDS = 0.5
_WAKE_LIFE_SECONDS = 600
_WAKE_AFTER_SECONDS = 0.001  # a busy reader reads anew within it
_WAKE_AGAIN_SECONDS = 0.1  # at most this, while it does not
# A read costs Redis and its client as much as it has streams: many streams are read
# less often, and find more. Measured at 8 and 32 runs at once: 7 to 8 % less CPU.
_PAUSE_PER_STREAM = 0.0003
_LONGEST_PAUSE = 0.02


def after_entry(entry_id: bytes | str) -> str:
    """Return the lowest id above an entry's."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def _entry(answer: list[Any]) -> Entry:
    entry_id, parts = answer
    return entry_id, dict(zip(parts[::2], parts[1::2], strict=True))


@dataclass(slots=True, eq=False)
class _Watch:
    """Who watches a stream; a later watch of the same key is another one."""

    cursor: bytes
    on_entries: OnEntries


class StreamReader:
    """Delivers new entries of watched streams to callbacks on the running loop.

    A callback runs between reads and must not block; what it raises is logged. After
    a lost connection it goes on from the last delivered entry; `on_reconnect` is
    called once per recovery.
    """

    def __init__(self, on_reconnect: Callable[[], None] | None = None) -> None:
        self._watched: dict[str, _Watch] = {}
        self._wake_key = reader_wake(uuid7())
        self._wake_cursor = b"0-0"
        self._on_reconnect = on_reconnect
        self._unread = False  # a watch that the read under way does not have
        self._pauses = False  # the next read has all watches
        self._read: Exchange | None = None
        self._control: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._poke_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin reading on the running loop; idempotent."""
        if self._task is None:
            client = stream_client()
            self._read, self._control = Exchange(client), Exchange(client)
            self._task = asyncio.create_task(self._read_forever())

    async def stop(self) -> None:
        """Stop reading and close the connections."""
        for task in (self._poke_task, self._task):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for exchange in (self._read, self._control):
            if exchange is not None:
                await exchange.aclose()

    def watch(self, key: str, cursor: str | bytes, on_entries: OnEntries) -> None:
        """Deliver what comes after `cursor` (`0-0` means all of it)."""
        position = cursor.encode() if isinstance(cursor, str) else cursor
        self._watched[key] = _Watch(position, on_entries)
        self._unread = True
        self.start()
        if self._poke_task is None or self._poke_task.done():
            self._poke_task = asyncio.create_task(self._poke())

    def unwatch(self, key: str) -> None:
        """Stop delivering; entries of a read under way are dropped."""
        self._watched.pop(key, None)

    async def _poke(self) -> None:
        """End the read under way; again for a watch that came too late for the next."""
        key, pause = self._wake_key, _WAKE_AFTER_SECONDS
        add = ("XADD", key, "MAXLEN", 1, "*", b"w", b"")
        with contextlib.suppress(*FAILURES):  # at worst the read lasts its 2 s
            while self._control is not None and self._task and not self._task.done():
                await asyncio.sleep(pause)
                if self._pauses or not self._unread:
                    return
                await self._control([add, ("EXPIRE", key, _WAKE_LIFE_SECONDS)])
                pause = min(2 * pause, _WAKE_AGAIN_SECONDS)

    async def _read_forever(self) -> None:
        failing = False
        while True:
            watched, self._unread = dict(self._watched), False
            try:
                answer = await self._read_once(watched)
            except FAILURES as error:
                if not failing:
                    logger.warning("stream reader lost redis: %s", type(error).__name__)
                failing = True
                await self._pause(_RETRY_SECONDS)
                continue
            if failing:
                failing = False
                self._reconnected()
            for key, entries in answer:
                self._deliver(key.decode(), entries, watched)
            await self._pause(min(len(watched) * _PAUSE_PER_STREAM, _LONGEST_PAUSE))

    async def _pause(self, seconds: float) -> None:
        self._pauses = True
        await asyncio.sleep(seconds)
        self._pauses = False

    def _reconnected(self) -> None:
        try:
            if self._on_reconnect is not None:
                self._on_reconnect()
        except Exception:
            logger.exception("what follows a reconnection failed")

    async def _read_once(self, watched: dict[str, _Watch]) -> list[Any]:
        assert self._read is not None  # noqa: S101  set by start()
        cursors = [watch.cursor for watch in watched.values()]
        how = ("COUNT", _PER_STREAM, "BLOCK", BLOCK_MILLISECONDS)
        keys = (*watched, self._wake_key)
        read = ("XREAD", *how, "STREAMS", *keys, *cursors, self._wake_cursor)
        (answer,) = await self._read([read])
        found = answer.items() if isinstance(answer, dict) else answer or ()
        return [(key, list(map(_entry, entries))) for key, entries in found]

    def _deliver(
        self, key: str, entries: list[Entry], asked: dict[str, _Watch]
    ) -> None:
        if key == self._wake_key:
            self._wake_cursor = entries[-1][0]
            return
        watch = self._watched.get(key)
        if watch is None or watch is not asked.get(key):
            return  # the read was begun for an earlier watch, with its cursor
        watch.cursor = entries[-1][0]
        try:
            watch.on_entries(entries)
        except Exception:
            # Every other stream of this process is read here too.
            logger.exception("entries of %s were not applied", key)
