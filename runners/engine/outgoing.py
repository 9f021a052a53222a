"""Frames to web nodes and live events to subscribers, pipelined and in order."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from langbot.lib.conf import limits
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
_LIVE_EVENT_BYTES = 32 * 1024

# Adds to a pipeline; what it returns gets the answer to the last command added.
OnAnswer = Callable[[Any], None]
Command = Callable[[Any], OnAnswer | None]


class Outgoing:
    """One writer task; what queues during a write goes out in the next pipeline.

    While Redis is away the commands wait, in order: a host call's answer must not be
    lost. Repeats do no harm: entry ids of events and numbers of chunks are fixed.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._commands: list[Command] = []
        self._task: asyncio.Task[None] | None = None

    def to_node(
        self,
        node: str,
        message: NodeMessage,
        on_refused: Callable[[], None] | None = None,
    ) -> None:
        """Queue a message to a web node; `on_refused` when its inbox is full."""

        def command(pipeline: Any) -> OnAnswer:
            check = inbox.add(pipeline, node, message)
            return lambda answer: self._answered(answer, check, on_refused)

        self.add(command)

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

        def command(pipeline: Any) -> None:
            key = run_live(run_id)
            for seq, event in enumerate(events, first_seq):
                pipeline.xadd(
                    key,
                    _live_entry(run_id, seq, event),
                    id=f"{seq}-0",
                    maxlen=limits().live_entries,
                    approximate=True,
                )
            ended = events[-1].type in ENDS
            pipeline.expire(key, _ENDED_SECONDS if ended else _LIVE_SECONDS)

        self.add(command)

    def add(self, command: Command) -> None:
        """Queue any pipeline command, in order with the others."""
        self._commands.append(command)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def drain(self) -> None:
        """Wait until everything queued is written, at most 3 s."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_DRAIN_SECONDS)

    async def _send(self) -> None:
        while self._commands:
            commands, self._commands = self._commands, []
            pipeline = self._client.pipeline(transaction=False)
            waiting = []
            for command in commands:
                on_answer = command(pipeline)
                if on_answer is not None:
                    waiting.append((len(pipeline) - 1, on_answer))
            try:
                # An id that exists already is a repeat; the others still count.
                answers = await pipeline.execute(raise_on_error=False)
            except FAILURES as error:
                logger.warning("redis is away: %s", type(error).__name__)
                self._commands = [*commands, *self._commands][-_COMMANDS_KEPT:]
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for place, on_answer in waiting:
                on_answer(answers[place])


def _delete(key: str, pipeline: Any) -> None:
    pipeline.delete(key)


def _live_entry(run_id: UUID, seq: int, event: NewEvent) -> Any:
    # Subscribers read a large event from the ledger: the stream is bounded by number.
    text = encode(live_document(run_id, seq, event.type, event.data, event.created_at))
    return {b"e": text} if len(text) <= _LIVE_EVENT_BYTES else {b"s": b""}
