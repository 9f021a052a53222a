"""Carries frames of runs from this web node into each run's inbound stream.

Whatever arrives while one write is under way goes out together in the next
(natural batching). A frame is kept until its worker has trimmed it, so that frames
which a restarted Redis forgot are sent again, before any newer one: the worker drops
repeats, but takes what follows a gap.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from langbot.lib.conf import limits
from langbot.lib.exchange import Command, Commands, Exchange
from langbot.lib.ids import uuid7
from langbot.lib.redis import FAILURES, claim_check, run_inbound
from runners.gateway.messages import CLAIM_CHECK_SECONDS, join_frames

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.25
_LOOK_ENTRIES = 8  # how often Redis is asked what its worker has trimmed,
_LOOK_BYTES = 256 * 1024  # unless so much is unread
_WINDOW_SECONDS = 0.004  # of a stream that has begun; nobody reads faster
_CLOSED_BEATS = 5  # heartbeats; then its worker has read the last frames
_EXTRA_LIFE_SECONDS = 600  # of the stream, beyond the run's deadline


class RunPipe:
    """Frames of one run that its worker has not trimmed yet."""

    def __init__(self, run_id: UUID, life_seconds: int, invocation: int) -> None:
        self.run_id = run_id
        self.key = run_inbound(run_id, invocation)
        self.life_seconds = life_seconds + _EXTRA_LIFE_SECONDS
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0
        self.unread: deque[bytes] = deque()
        self.unread_bytes = 0
        self.is_begun = False  # its stream exists, unless Redis forgot it
        self._is_asked = False  # how long its stream is, in the write under way
        self.closing = False
        self.is_discarded = False  # nobody reads it any more; never written again
        self.beats_closed = 0

    def entry(self) -> bytes:
        """Take what waits as one stream entry."""
        frames, self.waiting, self.waiting_bytes = self.waiting, [], 0
        return join_frames(frames)

    def addition(self, field: tuple[bytes, bytes]) -> Command:
        """Return what adds an entry; a stream that was lost is not made again."""
        known = ("NOMKSTREAM",) if self.is_begun else ()
        return ("XADD", self.key, *known, "*", *field)

    def adding(self, field: tuple[bytes, bytes]) -> Commands:
        """Return the addition, and what its stream needs or is asked from time to time.

        Whoever sends it passes the answer to the second command to `added`.
        """
        commands = [self.addition(field)]
        self._is_asked = False
        if not self.is_begun:
            commands.append(("EXPIRE", self.key, self.life_seconds))
        elif len(self.unread) % _LOOK_ENTRIES == 0 or self.unread_bytes > _LOOK_BYTES:
            self._is_asked = True
            commands.append(("XLEN", self.key))
        return commands

    def added(self, answer: Any) -> None:
        """Note that it was done, and what is left unread if that was asked."""
        self.is_begun = True
        if self._is_asked:
            self._trimmed_to(answer)

    @property
    def is_overfull(self) -> bool:
        """Whether more is unread than may be, beside one frame of any size."""
        bounds = limits()
        if len(self.unread) > bounds.inbound_entries:
            return True
        if self.unread_bytes <= bounds.inbound_bytes:
            return False
        largest = max(map(len, self.unread))
        return self.unread_bytes - largest > bounds.inbound_bytes

    def _trimmed_to(self, length: int) -> None:
        """Forget entries that the worker has trimmed; `length` are left."""
        while len(self.unread) > length:
            self.unread_bytes -= len(self.unread.popleft())


Written = list[tuple[RunPipe, bytes]]


class Relay:
    """One writer per process; `push` never blocks, `pending_bytes` tells the load."""

    def __init__(self, client: Redis, on_overflow: Callable[[UUID], None]) -> None:
        self._exchange = Exchange(client)
        self._on_overflow = on_overflow
        self._pipes: dict[UUID, RunPipe] = {}
        self._dirty: dict[UUID, RunPipe] = {}
        self._unwanted: list[str] = []  # streams to delete with the next write
        self._flushing: asyncio.Task[None] | None = None
        self._resending: asyncio.Task[None] | None = None
        self._deleting: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._urgent = asyncio.Event()
        self.pending_bytes = 0
        self.drained = asyncio.Event()
        self.drained.set()

    def open(self, run_id: UUID, life_seconds: int, invocation: int = 1) -> None:
        """Expect frames of an invocation; its stream lives `life_seconds` + 10 min."""
        pipe = RunPipe(run_id, life_seconds, invocation)
        known = self._pipes.get(run_id)
        if known is not None and not known.closing and known.key == pipe.key:
            return
        if known is not None:
            self._drop(known)
        self._pipes[run_id] = pipe

    def push(self, run_id: UUID, frame: bytes, *, can_wait: bool = False) -> None:
        """Queue one frame; a run that is not open is ignored.

        One that `can_wait` goes out within 4 ms, together with what follows it.
        """
        pipe = self._pipes.get(run_id)
        if pipe is None or pipe.closing:
            return
        pipe.waiting.append(frame)
        pipe.waiting_bytes += len(frame)
        self.pending_bytes += len(frame)
        if self.pending_bytes > limits().inbound_bytes:
            self.drained.clear()
        self._dirty[run_id] = pipe
        if not can_wait:
            self._urgent.set()
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    def close(self, run_id: UUID) -> None:
        """Take no more frames of the run; its last ones are kept for some seconds."""
        pipe = self._pipes.get(run_id)
        if pipe is not None:
            pipe.closing = True

    def discard(self, run_id: UUID) -> None:
        """Forget a run that its worker has given up, and delete its stream.

        Otherwise a frame on its way would make the deleted stream again.
        """
        pipe = self._pipes.get(run_id)
        if pipe is None:
            return
        self._drop(pipe)
        self._unwanted.append(pipe.key)
        if self._deleting is None or self._deleting.done():
            self._deleting = asyncio.create_task(self._write_surely([]))

    def _drop(self, pipe: RunPipe) -> None:
        pipe.closing = pipe.is_discarded = True
        del self._pipes[pipe.run_id]
        if self._dirty.pop(pipe.run_id, None) is not None:
            self.pending_bytes -= pipe.waiting_bytes
            self._drain()
        pipe.waiting, pipe.waiting_bytes = [], 0
        pipe.unread.clear()
        pipe.unread_bytes = 0

    def _drain(self) -> None:
        if self.pending_bytes <= limits().inbound_bytes // 4:
            self.drained.set()

    def forget_closed(self) -> None:
        """Forget runs that were closed a while ago; called with each heartbeat."""
        for pipe in list(self._pipes.values()):
            if pipe.closing and pipe.run_id not in self._dirty:
                pipe.beats_closed += 1
                if pipe.beats_closed > _CLOSED_BEATS:
                    del self._pipes[pipe.run_id]

    def heaviest(self, runs: set[UUID]) -> UUID | None:
        """Return the run with the most unread bytes among `runs`."""
        pipes = [pipe for run, pipe in self._pipes.items() if run in runs]
        best = max(pipes, key=_load, default=None)
        return best.run_id if best is not None else None

    def resend_all(self) -> None:
        """Write every unread frame again: Redis was restarted and kept nothing."""
        kept = [pipe for pipe in self._pipes.values() if pipe.unread]
        if kept:
            self._resending = asyncio.create_task(self._write_surely([], kept))

    async def _flush(self) -> None:
        while self._dirty:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WINDOW_SECONDS):
                    await self._urgent.wait()
            self._urgent.clear()
            pipes, self._dirty = list(self._dirty.values()), {}
            written = []
            for pipe in pipes:
                self.pending_bytes -= pipe.waiting_bytes
                entry = pipe.entry()
                pipe.unread.append(entry)
                pipe.unread_bytes += len(entry)
                written.append((pipe, entry))
            self._drain()
            await self._write_surely(written)
            for pipe in pipes:
                self._after_write(pipe)

    def _after_write(self, pipe: RunPipe) -> None:
        if pipe.is_overfull and not pipe.closing:
            self._on_overflow(pipe.run_id)

    async def _write_surely(
        self, written: Written, lost: Sequence[RunPipe] = ()
    ) -> None:
        """Write new entries, and all unread ones of the `lost` runs, at all costs."""
        async with self._writing:
            try:
                lost = [*lost, *await self._write(written)]
            except FAILURES as error:
                # Nobody knows what of it Redis has: all of it again.
                logger.warning("relay waits for redis: %s", type(error).__name__)
                lost = [*lost, *(pipe for pipe, _ in written)]
            for pipe in lost:
                while not await self._write_again(pipe):
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _write(self, written: Written) -> list[RunPipe]:
        """Add one entry for each run; returns those whose stream has disappeared."""
        commands: Commands = []
        written = [each for each in written if not each[0].is_discarded]
        places = []
        unwanted, self._unwanted = self._unwanted, []
        if unwanted:  # when Redis is away their own life ends them
            commands.append(("DEL", *unwanted))
        for pipe, entry in written:
            field = _checked(commands, entry)
            places.append(len(commands))
            commands += pipe.adding(field)
        answers = [*await self._exchange(commands), None]
        lost = []
        for (pipe, _), place in zip(written, places, strict=True):
            if answers[place] is None:
                lost.append(pipe)
            else:
                pipe.added(answers[place + 1])
        return lost

    async def _write_again(self, pipe: RunPipe) -> bool:
        """Add all unread entries of a run once more; False when Redis is away."""
        if pipe.is_discarded:
            return True
        commands: Commands = []
        pipe.is_begun = False
        for entry in pipe.unread:
            commands.append(pipe.addition(_checked(commands, entry)))
        commands.append(("EXPIRE", pipe.key, pipe.life_seconds))
        try:
            await self._exchange(commands)
        except FAILURES:
            return False
        pipe.is_begun = True
        return True


def _checked(commands: Commands, entry: bytes) -> tuple[bytes, bytes]:
    """Return the field of a stream entry; a large one is put aside."""
    if len(entry) <= limits().claim_check_bytes:
        return b"f", entry
    key = claim_check(uuid7())
    commands.append(("SET", key, entry, "EX", CLAIM_CHECK_SECONDS))
    return b"x", key.encode()


def _load(pipe: RunPipe) -> int:
    return pipe.unread_bytes + pipe.waiting_bytes
