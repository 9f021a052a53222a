"""The worker's loop: claims queued runs, carries them, writes what they produce."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError

from langbot.lib.conf import limits
from langbot.lib.db import DatabaseExecutor
from langbot.lib.exchange import Commands
from langbot.lib.group_commit import WritingExecutor
from langbot.lib.ids import uuid7
from langbot.lib.redis import (
    FAILURES,
    connection_runs,
    invocation_name,
    stream_client,
    worker_inbox,
)
from langbot.lib.streams import Entry, StreamReader, after_entry
from runners.engine.active import ActiveRun
from runners.engine.outgoing import Outgoing
from runners.engine.placement import Placement
from runners.engine.writer import LedgerWriter
from runners.gateway.messages import Kind, NodeMessage, payload_of
from runners.host_api.dispatch import HostApi
from runners.host_api.refusals import FLUSH_SECONDS
from runners.host_api.waiting import Waits
from runners.ledger import claims
from runners.ledger.positions import ended_among
from runners.models import AgentRun
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Request
from runners.wakes import wake_deliveries

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.25
_RETRY_SECONDS = 0.25


class Engine:
    """Everything one worker process carries. All methods run on its loop."""

    def __init__(self) -> None:
        self.node = uuid7()
        self.active: dict[UUID, ActiveRun] = {}
        self.database = WritingExecutor("engine")
        # A thread of its own: a heartbeat never waits behind other queries.
        self._heartbeat = DatabaseExecutor("heartbeat", 1)
        self.client = stream_client()
        self.outgoing = Outgoing(stream_client())
        self.placement = Placement(self.client)
        self.reader = StreamReader(self._on_redis_back)
        self.writer = LedgerWriter(self)
        self.host_api = HostApi(self)
        self.waits = Waits()
        self.is_draining = False
        self._tasks: set[asyncio.Task[Any]] = set()

    # Life

    async def start(self) -> None:
        """Register the node and begin all periodic work."""
        from runners.engine.adoption import Adoption
        from runners.engine.carrying_out import Decisions
        from runners.engine.starter import Starter

        self.starter = Starter(self)
        self.adoption = Adoption(self)
        self.decisions = Decisions(self)
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.node = (await self.until_database(claims.start_node, name)).public_id
        self.reader.watch(worker_inbox(self.node), "0-0", self._on_hints)
        bounds = limits()
        self._repeat(self._tick, _TICK_SECONDS)
        self._repeat(self._beat, bounds.heartbeat_seconds)
        self._repeat(self.starter.poll, bounds.poll_seconds)
        self._repeat(self.decisions.poll, bounds.poll_seconds)
        self._repeat(self.host_api.flush_refusals, FLUSH_SECONDS)
        for work in self.adoption.rounds():
            self._repeat(work, bounds.adoption_seconds)

    def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        self.spawn(self._repeat_forever(work, seconds))

    async def _repeat_forever(
        self, work: Callable[[], Awaitable[None]], seconds: float
    ) -> None:
        """Do periodic work; an error ends one round only."""
        while True:
            try:
                await work()
            except (DatabaseError, InterfaceError, *FAILURES) as error:
                logger.warning("%s failed: %s", work.__qualname__, error)
            except Exception:  # a bug in one kind of work must not stop the worker
                logger.exception("%s failed", work.__qualname__)
            await asyncio.sleep(seconds)

    async def stop(self) -> None:
        """Stop claiming, write what is there, release every run (within 10 s)."""
        self.is_draining = True
        # First: what is read from here on is the adopters'.
        await self.reader.stop()
        await self.starter.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.writer.drain()
        await self.outgoing.drain()
        await self.host_api.flush_refusals()
        await self.database(claims.release_runs, self.node)
        await self.database(claims.stop_node, self.node)
        self.writer.close()
        for executor in (self.database, self._heartbeat):
            executor.shutdown()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` on the loop; an unexpected error is logged, never lost."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("engine task failed", exc_info=task.exception())

    async def until_database(self, function: Any, *args: Any) -> Any:
        """Run `function` on the pool, again and again while the database is away."""
        while True:
            try:
                return await self.database(function, *args)
            except (OperationalError, InterfaceError) as error:
                logger.warning("engine waits for the database: %s", error)
                await asyncio.sleep(1.0)

    # Runs

    def carry(self, run: ActiveRun, cursor: str) -> None:
        """Read the run's frames from `cursor` on."""
        twin = self.active.get(run.facts.public_id)
        if twin is not None:
            self.close(twin)  # ours from before the database was away
        run.cursor = cursor
        self.active[run.facts.public_id] = run
        self.reader.watch(run.key, cursor, lambda entries: self._feed(run, entries))

    def _feed(self, run: ActiveRun, entries: list[Entry]) -> None:
        run.backlog.extend(entries)
        self.feed_more(run)

    def feed_more(self, run: ActiveRun) -> None:
        """Apply what was read, in order, until the run has enough for one batch."""
        while run.backlog and run.has_room and not run.is_closed:
            entry_id, fields = run.backlog[0]
            if b"x" in fields:
                if not run.is_fetching:
                    run.is_fetching = True
                    self.spawn(self._fetch(run, entry_id.decode(), fields))
                break
            run.backlog.popleft()
            self._feed_one(run, entry_id.decode(), fields[b"f"])
        self.after_feed(run)

    async def _fetch(
        self, run: ActiveRun, entry_id: str, fields: dict[bytes, bytes]
    ) -> None:
        payload = await self._until_redis(fields)
        run.is_fetching = False
        if payload is None:
            # Redis was restarted: the web node sends this and all that follows again.
            run.backlog.clear()
            return
        run.backlog.popleft()
        run.applied_checks.append(fields[b"x"].decode())
        self._feed_one(run, entry_id, payload)
        self.feed_more(run)

    async def _until_redis(self, fields: dict[bytes, bytes]) -> bytes | None:
        while True:
            try:
                return await payload_of(self.client, fields)
            except FAILURES:
                await asyncio.sleep(_RETRY_SECONDS)

    def _feed_one(self, run: ActiveRun, entry_id: str, payload: bytes) -> None:
        if run.is_closed:
            return
        try:
            run.feed(entry_id, payload)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("run %s: unreadable frames: %s", run.facts.public_id, error)
            run.log.fail(ErrorCode.RUNNER_PROTOCOL_ERROR, type(error).__name__)
        except Exception:
            # A bug of ours ends this run; the others of this worker go on.
            logger.exception("run %s: a frame was not applied", run.facts.public_id)
            run.log.fail(ErrorCode.RUNTIME_ERROR, "the host failed", retryable=True)

    def after_feed(self, run: ActiveRun) -> None:
        """Have the run written when it has something new."""
        if not run.is_closed and run.wants_flush:
            self.writer.mark(run)

    def on_call(self, run: ActiveRun, call: Request) -> None:
        """Answer a host call beside everything else."""
        self.spawn(self.host_api.answer(run, call))

    def send(self, run: ActiveRun, frame: bytes) -> None:
        """Send a frame to the run's plugin."""
        place = run.tenure.place
        self.to_plugin(run, NodeMessage(Kind.FRAME, place.connection_id, payload=frame))

    def to_plugin(self, run: ActiveRun, message: NodeMessage) -> None:
        """Send what the run cannot go on without; it fails where there is no room."""

        def fail() -> None:
            error = "its web process does not take what it is sent"
            run.log.fail(ErrorCode.BACKPRESSURE, error, retryable=True)
            if not run.is_closed:
                self.writer.mark(run)

        self.outgoing.to_node(run.tenure.place.web_node, message, fail)

    def send_chunk(self, run: ActiveRun, frame: bytes, call: int, number: int) -> None:
        """Send the numbered chunk (from 1) of the answer to a streaming call."""
        place = run.tenure.place
        message = NodeMessage(Kind.FRAME, place.connection_id, payload=frame)
        message.call, message.number = call, number
        self.to_plugin(run, message)

    def cancel_in_plugin(self, run: ActiveRun) -> None:
        """Stop the run's task in the plugin; needed when the host ended it."""
        place = run.tenure.place
        message = NodeMessage(Kind.CANCEL, place.connection_id, run.facts.public_id)
        message.number = run.tenure.invocation
        self.outgoing.to_node(place.web_node, message)

    def close(self, run: ActiveRun) -> None:
        """Forget a run that ended or was lost to another worker."""
        if not run.is_closed:
            run.is_closed = True
            self.reader.unwatch(run.key)
            self.active.pop(run.facts.public_id, None)
            self.host_api.forget(run)

    async def lost(self, run: ActiveRun) -> None:
        """Forget a run whose fence was closed to us; free it when it has ended."""
        self.close(run)
        if await self.until_database(ended_among, [run.facts.pk]):
            self._free(run)

    def give_back(self, runs: list[ActiveRun]) -> None:
        """Forget runs that could not be written; an adopter goes on with them."""
        for run in runs:
            self.close(run)
        keys = {run.facts.pk for run in runs}
        self.spawn(self.until_database(claims.release_runs, self.node, keys))

    def ended(self, run: ActiveRun) -> None:
        """Forget an ended run and free what it held."""
        self.close(run)
        self._free(run)

    def parked(self, run: ActiveRun) -> None:
        """Forget a run that waits for a person now; its plugin is stopped."""
        self.close(run)
        run.log.is_over_in_plugin = False
        self._free(run)
        self.starter.slot_freed()
        self.decisions.look()

    def _free(self, run: ActiveRun) -> None:
        """Give back what an invocation held; the run may go on elsewhere by now."""
        if not run.log.is_over_in_plugin:
            self.cancel_in_plugin(run)
        slots = connection_runs(run.tenure.place.connection_id)
        slot = invocation_name(run.facts.public_id, run.tenure.invocation)

        def add(commands: Commands) -> None:
            commands.append(("ZREM", slots, slot))
            commands.append(("DEL", run.key))
            if run.applied_checks:
                commands.append(("DEL", *run.applied_checks))

        self.outgoing.add(add)

    def trim(self, run: ActiveRun, cursor: str) -> None:
        """Delete what is committed; an adopter would not read it again."""
        checks, run.applied_checks = run.applied_checks, []

        def add(commands: Commands) -> None:
            commands.append(("XTRIM", run.key, "MINID", after_entry(cursor)))
            if checks:
                commands.append(("DEL", *checks))

        self.outgoing.add(add)

    def start_also(self, promoted: list[int], deliveries: list[int]) -> None:
        """Start promoted runs here, wake the outbox for deliveries."""
        self.starter.offer(promoted)
        self.starter.slot_freed()
        if deliveries:
            self.spawn(self.database(wake_deliveries, deliveries))

    # Time and hints

    async def _tick(self) -> None:
        now, epoch = time.monotonic(), time.time()
        for run in list(self.active.values()):
            if run.log.ending is None and run.overdue(now, epoch):
                self.writer.mark(run)

    async def _beat(self) -> None:
        await self._heartbeat(claims.beat, self.node)
        for run_id in await self.database(cancelled_runs, self.node):
            run = self.active.get(run_id)
            if run is not None:
                run.begin_cancel()

    def _on_hints(self, entries: list[Entry]) -> None:
        for _, fields in entries:
            run = self.active.get(UUID(bytes=fields.get(b"cancel", bytes(16))))
            if run is not None:
                run.begin_cancel()
            if b"wake" in fields:
                self.waits.wake(UUID(bytes=fields[b"wake"]))

    def _on_redis_back(self) -> None:
        # What was on its way to a plugin is gone; nodes ignore runs they know.
        for run in self.active.values():
            if run.log.last_sequence == 0 and run.start_message is not None:
                self.to_plugin(run, run.start_message)


def cancelled_runs(node: UUID) -> list[UUID]:
    """Return the node's running runs that someone asked to cancel."""
    asked = AgentRun.objects.running().filter(
        node=node, cancel_requested_at__isnull=False
    )
    return list(asked.values_list("public_id", flat=True))
