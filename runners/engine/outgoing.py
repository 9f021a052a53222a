"""Frames to web nodes and live events to subscribers, many at once and in order."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from langbot.lib.conf import limits
from langbot.lib.exchange import Commands, Exchange
from langbot.lib.redis import FAILURES, run_live
from runners.choices import ENDS
from runners.gateway import inbox
from runners.gateway.messages import NodeMessage
from runners.ledger.fence import NewEvent, live_document
from runners.protocol.frames import encode

logger = logging.getLogger(__name__)

_LIVE_SECONDS = 3600
_ENDED_SECONDS = 20
_RETRY_SECONDS = 0.25
_DRAIN_SECONDS = 3.0
_COMMANDS_KEPT = 20_000  # the oldest go first; plugins then time out by themselves
_LIVE_EVENT_BYTES = 64 * 1024  # a reply of 30 KB, which its event has twice

# Adds commands; what it returns gets the answer to the last one it added.
OnAnswer = Callable[[Any], None]
Adder = Callable[[Commands], OnAnswer | None]


class Outgoing:
    """One writer task; what queues during a write goes out with the next one.

    While Redis is away the commands wait, in order: a host call's answer must not be
    lost. Repeats do no harm: entry ids of events and numbers of chunks are fixed.
    """

    def __init__(self, client: Redis) -> None:
        self._exchange = Exchange(client)
        self._waiting: list[Adder] = []
        self._task: asyncio.Task[None] | None = None

    def to_node(
        self,
        node: str,
        message: NodeMessage,
        on_refused: Callable[[], None] | None = None,
    ) -> None:
        """Queue a message to a web node; `on_refused` when its inbox is full."""

        def add(commands: Commands) -> OnAnswer:
            check = inbox.add(commands, node, message)
            return lambda answer: self._answered(answer, check, on_refused)

        self.add(add)

    def _answered(
        self, answer: Any, check: str | None, on_refused: Callable[[], None] | None
    ) -> None:
        if answer != inbox.REFUSED:
            return
        if check is not None:
            self.add(partial(_delete, check))
        if on_refused is not None:
            on_refused()

    def publish(self, run_id: UUID, first_seq: int, events: list[NewEvent]) -> None:
        """Queue committed events for live subscribers."""
        if not events:
            return

        def add(commands: Commands) -> None:
            add_live_events(commands, run_id, first_seq, events)

        self.add(add)

    def add(self, adder: Adder) -> None:
        """Queue what adds any commands, in order with the others."""
        self._waiting.append(adder)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def drain(self) -> None:
        """Wait until everything queued is written, at most 3 s."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_DRAIN_SECONDS)

    async def _send(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            commands: Commands = []
            asked = []
            for adder in taken:
                on_answer = adder(commands)
                if on_answer is not None:
                    asked.append((len(commands) - 1, on_answer))
            try:
                # An id that exists already is refused as a repeat; that is well.
                answers = await self._exchange.try_each(commands)
            except FAILURES as error:
                logger.warning("redis is away: %s", type(error).__name__)
                self._waiting = [*taken, *self._waiting][-_COMMANDS_KEPT:]
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for place, on_answer in asked:
                on_answer(answers[place])


def add_live_events(
    commands: Commands, run_id: UUID, first_seq: int, events: list[NewEvent]
) -> None:
    """Add committed events to what live subscribers read; repeats do no harm."""
    key = run_live(run_id)
    bound = ("MAXLEN", "~", limits().live_entries)
    for seq, event in enumerate(events, first_seq):
        entry = _live_entry(run_id, seq, event)
        commands.append(("XADD", key, *bound, f"{seq}-0", *entry))
    seconds = _ENDED_SECONDS if events[-1].type in ENDS else _LIVE_SECONDS
    commands.append(("EXPIRE", key, seconds))


def _delete(key: str, commands: Commands) -> None:
    commands.append(("DEL", key))


def _live_entry(run_id: UUID, seq: int, event: NewEvent) -> tuple[bytes, bytes]:
    # Subscribers read a large event from the ledger: the stream is bounded by number.
    text = encode(live_document(run_id, seq, event.type, event.data, event.created_at))
    return (b"e", text) if len(text) <= _LIVE_EVENT_BYTES else (b"s", b"")
