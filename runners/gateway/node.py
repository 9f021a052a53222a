"""This process as a web node: its sockets, its heartbeat, frames to and from Redis."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Set
from functools import lru_cache
from uuid import UUID

from django.db import Error as DatabaseFailure
from redis.asyncio import Redis

from agents.registry import connections
from agents.registry.connections import Origin
from langbot.lib.conf import limits
from langbot.lib.db import DatabaseExecutor
from langbot.lib.exchange import Commands, Exchange
from langbot.lib.ids import uuid7
from langbot.lib.redis import (
    FAILURES,
    connection_runs,
    invocation_name,
    node_alive,
    node_inbox,
    runner_connections,
    stream_client,
)
from langbot.lib.streams import Entry, StreamReader
from runners.gateway import inbox
from runners.gateway.handshake import Handshake
from runners.gateway.messages import Kind, NodeMessage, own_frame, read_node_message
from runners.gateway.presentation import ask_presentation
from runners.gateway.relay import Relay
from runners.gateway.session import PluginSession
from runners.gateway.throttle import ConnectThrottle
from runners.host_api.connection_calls import ConnectionCalls
from runners.ledger.refusal_counts import Refusal, add_refusals
from runners.protocol.errors import ErrorCode
from runners.protocol.frames import Action, Request

logger = logging.getLogger(__name__)

REGISTRY_THREADS = 2
_BAD_FRAMES_ALLOWED = 1000
REGISTER_SECONDS = 15.0  # as long as the plugin waits for an answer, wire 2.9
_REFUSALS_KEPT = 10_000  # while the database is away
_TRIM_ENTRIES = 200  # handled ones; fewer are trimmed together within
_TRIM_SECONDS = 0.05
_RETRY_SECONDS = 0.25
_RELEASED = b""  # in place of the id of an entry that was kept back
_INVOCATIONS_REMEMBERED = 10_000
_LOST = own_frame({"lost": ErrorCode.CONNECTION_LOST})
_OVERFLOW = own_frame({"lost": ErrorCode.BACKPRESSURE})


class WebNode:
    """One per process and loop; made with the first plugin socket."""

    def __init__(self) -> None:
        self.id = str(uuid7())
        self.throttle = ConnectThrottle()  # by token that is good, else by address
        self.failures = ConnectThrottle()  # wrong tokens by address
        self.database = DatabaseExecutor("registry", REGISTRY_THREADS)
        self.calls = ConnectionCalls()
        self._client: Redis = stream_client()
        self._exchange = Exchange(self._client)
        self.relay = Relay(self._client, self._on_overflow)
        self._sessions: dict[UUID, PluginSession] = {}
        self._bad_frames: dict[UUID, int] = {}
        self._disabled: set[str] = set()
        self._invocations: OrderedDict[UUID, int] = OrderedDict()
        self._reader = StreamReader(self.relay.resend_all)
        self._inbox: asyncio.Queue[Entry] = asyncio.Queue()
        self._last_entry = b"0-0"
        self._handled = self._handled_bytes = 0  # entries since the last trim
        self._trimming: asyncio.Task[None] | None = None
        self._applied_checks: list[str] = []
        self._refused: list[Refusal] = []  # of sockets that are gone, or not written
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin heartbeat and inbox on the running loop; idempotent."""
        if not self._tasks:
            self._reader.watch(node_inbox(self.id), "0-0", self._on_entries)
            self._tasks = [
                asyncio.create_task(self._forever(self._beat)),
                asyncio.create_task(self._handle_forever()),
                asyncio.create_task(self._forever(self._follow_rows)),
                asyncio.create_task(self._forever(self._count_refusals)),
            ]

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (*FAILURES, DatabaseFailure) as error:
                logger.warning("web node: %s", error)
            except Exception:
                logger.exception("a round of the web node failed")
            await asyncio.sleep(limits().heartbeat_seconds)

    # Sockets

    def add(self, session: PluginSession) -> None:
        """Know a socket from its accept on."""
        self._sessions[session.id] = session
        session.spawn(self._expect_registration(session))

    async def _expect_registration(self, session: PluginSession) -> None:
        await asyncio.sleep(REGISTER_SECONDS)
        if session.registration is None:  # each step of one has its own limit
            session.end("it did not register within 15 s")

    async def remove(self, session: PluginSession) -> None:
        """Forget a socket; its open runs end as `connection_lost`."""
        self._sessions.pop(session.id, None)
        self._bad_frames.pop(session.id, None)
        self._refused += session.limits.refusals.take()
        self.release_held(session)
        if session.registered is not None:
            # First: the end of a run lets its conversation's next one be placed.
            await self._retract(session, session.registered.actions.keys())
        for run_id in session.run_ids:
            self.relay.push(run_id, _LOST)
            self.relay.close(run_id)
        await session.close()
        if session.registered is not None:
            logger.info("plugin %s disconnected", session.registered.plugin)
            with contextlib.suppress(*FAILURES):
                await self._client.delete(connection_runs(session.id))
            with contextlib.suppress(Exception):  # a dead database: the sweep does it
                reason = session.closing_reason
                await self.database(connections.disconnect, session.id, reason)

    def on_unregistered_request(self, session: PluginSession, request: Request) -> None:
        """Only the first `register_plugin` is answered before registration."""
        if request.action == Action.REGISTER_PLUGIN and session.registration is None:
            if not session.header_token and not self.failures.has_room(session.remote):
                session.end("too many wrong tokens")
                return
            work = self._register(session, request)
            session.registration = asyncio.ensure_future(work)

    async def _register(self, session: PluginSession, request: Request) -> None:
        origin = Origin(session.id, self.id, session.remote)
        handshake = Handshake(session, self.database, session.header_token)
        try:
            registered = await handshake.run(request, origin)
        except DatabaseFailure as error:
            logger.warning("a plugin could not be registered: %s", error)
            registered = None
        if handshake.is_token_wrong:
            self.failures.admits(session.remote)
        if registered is None:
            session.end("the registration failed")
            return
        session.registered = registered
        with contextlib.suppress(*FAILURES):  # the next heartbeat announces it
            await self._announce()
        logger.info("plugin %s connected", registered.plugin)
        if registered.has_icon:  # who draws one has a page to show
            session.spawn(ask_presentation(session, self.database, registered))

    async def _follow_rows(self) -> None:
        """Close sockets of revoked tokens, withdraw disabled runners, stay online.

        The rows are asked every 2 s: whoever changes one needs to tell nobody.
        """
        for connection_id in await self.database(connections.revoked, self.id):
            session = self._sessions.get(connection_id)
            if session is not None:
                session.end("the plugin token was revoked")
        if held := [one.id for one in self._sessions.values() if one.registered]:
            # Workers give a node up that stalls; it was not dead.
            await self.database(connections.reconnect, held)
        disabled = await self.database(connections.disabled_runners)
        fresh, self._disabled = disabled - self._disabled, disabled
        for session in list(self._sessions.values()):  # sockets come and go meanwhile
            await self._retract(session, fresh)

    async def _count_refusals(self) -> None:
        """Write which calls were refused, at most one statement every 2 s.

        Not on the registry's threads: no plugin waits for it to connect.
        """
        refused, self._refused = self._refused, []
        for session in self._sessions.values():
            refused += session.limits.refusals.take()
        if refused:
            try:
                await self.calls.database(add_refusals, refused)
            except DatabaseFailure:
                self._refused = [*refused, *self._refused][:_REFUSALS_KEPT]
                raise

    def count_bad_frame(self, session: PluginSession) -> None:
        """Cut off a plugin that sends garbage for ever."""
        count = self._bad_frames.get(session.id, 0) + 1
        self._bad_frames[session.id] = count
        if count > _BAD_FRAMES_ALLOWED:
            logger.warning("plugin connection %s sends garbage", session.id)
            session.end("the plugin sends garbage")

    def on_stall(self, session: PluginSession) -> None:
        """The read pause lasted 10 s: its heaviest run gives way."""
        run_id = self.relay.heaviest(session.run_ids)
        if run_id is not None:
            self._on_overflow(run_id)

    def _on_overflow(self, run_id: UUID) -> None:
        for session in list(self._sessions.values()):
            if run_id in session.run_ids:
                self.relay.push(run_id, _OVERFLOW)
                session.cancel_run(run_id)

    # Presence

    async def _beat(self) -> None:
        for session in self._sessions.values():
            session.check_reading()
        with contextlib.suppress(*FAILURES):
            await self._announce()
            self.relay.forget_closed()

    async def _announce(self) -> None:
        bounds = limits()
        life = bounds.connection_life_seconds
        now, _ = await self._client.time()
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(node_alive(self.id), 1, px=int(bounds.node_dead_seconds * 1000))
        inbox.renew(pipeline, self.id)
        for session in self._sessions.values():
            if session.registered is None:
                continue
            if runs := session.run_ids:
                # Again each time: a restarted Redis has forgotten the reservations.
                key = connection_runs(session.id)
                pipeline.zadd(key, dict.fromkeys(map(self._slot_of, runs), now + life))
            pipeline.expire(connection_runs(session.id), life)
            for runner_id in session.registered.actions.keys() - self._disabled:
                key = runner_connections(session.registered.workspace, runner_id)
                pipeline.zadd(key, {f"{self.id}|{session.id}": now})
                pipeline.expire(key, life)
        await pipeline.execute()

    def _slot_of(self, run_id: UUID) -> str:
        return invocation_name(run_id, self._invocations.get(run_id, 1))

    async def _retract(self, session: PluginSession, runners: Set[str]) -> None:
        registered = session.registered
        if registered is None or not runners:
            return
        pipeline = self._client.pipeline(transaction=False)
        for runner_id in registered.actions.keys() & runners:
            key = runner_connections(registered.workspace, runner_id)
            pipeline.zrem(key, f"{self.id}|{session.id}")
        with contextlib.suppress(*FAILURES):
            await pipeline.execute()

    # Frames from workers

    def _on_entries(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._inbox.put_nowait(entry)

    async def _handle_forever(self) -> None:
        while True:
            entry_id, fields = await self._inbox.get()
            try:
                await self._take(fields)
            except Exception:
                logger.exception("a message to this node could not be handled")
            self._note_handled(entry_id, fields)
            if self._handled >= _TRIM_ENTRIES:
                await self._trim()
            elif self._trimming is None or self._trimming.done():
                self._trimming = asyncio.create_task(self._trim_soon())

    async def _trim_soon(self) -> None:
        pause = _TRIM_SECONDS
        while self._handled:  # more may be handled while a trim is under way
            await asyncio.sleep(pause)
            pause = _TRIM_SECONDS if await self._trim() else _RETRY_SECONDS

    def _note_handled(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        self._handled += 1
        if entry_id != _RELEASED:
            self._last_entry = entry_id
            self._handled_bytes += inbox.size_of(fields)

    async def _take(self, fields: dict[bytes, bytes]) -> None:
        if self._hold(fields):
            return
        message = await self._read_surely(fields)
        if b"x" in fields:
            self._applied_checks.append(fields[b"x"].decode())
        if message is not None:
            self._handle(message)

    def _hold(self, fields: dict[bytes, bytes]) -> bool:
        """Keep back the start of a run on a busy socket, or drop one kept back."""
        session = self._sessions.get(UUID(bytes=fields[b"c"]))
        if session is None or b"r" not in fields:
            return False
        run_id, kind = UUID(bytes=fields[b"r"]), fields[b"k"].decode()
        if kind == Kind.CANCEL and _stops(fields, session.held.get(run_id)):
            held = session.held.pop(run_id)
            if b"x" in held:
                self._applied_checks.append(held[b"x"].decode())
        elif kind == Kind.RUN and session.is_busy:
            session.held[run_id] = fields
            return True
        return False

    def release_held(self, session: PluginSession) -> None:
        """Handle the kept starts of a socket: it has room again, or is gone."""
        held, session.held = session.held, {}
        for fields in held.values():
            self._inbox.put_nowait((_RELEASED, fields))

    async def _read_surely(self, fields: dict[bytes, bytes]) -> NodeMessage | None:
        while True:
            try:
                return await read_node_message(self._client, fields)
            except FAILURES:  # what comes after this message may need it
                await asyncio.sleep(_RETRY_SECONDS)

    async def _trim(self) -> bool:
        handled, size, checks = self._handled, self._handled_bytes, self._applied_checks
        self._handled, self._handled_bytes, self._applied_checks = 0, 0, []
        commands: Commands = [("DEL", *checks)] if checks else []
        inbox.trim(commands, self.id, self._last_entry, size)
        try:
            await self._exchange(commands)
        except FAILURES:  # the next one does it
            self._handled += handled
            self._handled_bytes += size
            self._applied_checks += checks
            return False
        return True

    def _handle(self, message: NodeMessage) -> None:
        session = self._sessions.get(message.connection)
        if message.kind is Kind.RUN and message.run is not None:
            goes_on = message.run in self._invocations
            if not self._is_first(message.run, message.number):
                return
            if goes_on:
                self._end_invocation(session, message.run)
            self.relay.open(message.run, message.life_seconds, message.number)
            if session is None:
                self.relay.push(message.run, _LOST)
                self.relay.close(message.run)
            else:
                session.start_run(message.run, message.action, message.payload)
        elif message.kind is Kind.CANCEL and message.run is not None:
            if self._is_current(message.run, message.number):
                self._end_invocation(session, message.run)
        elif session is None:
            return
        elif message.kind is Kind.FRAME and message.number:
            session.send_chunk(message.payload, message.call, message.number)
        elif message.kind is Kind.FRAME:
            session.send(message.payload)

    def _end_invocation(self, session: PluginSession | None, run_id: UUID) -> None:
        """Stop an invocation, which a worker that died as it parked has not."""
        if session is not None:
            session.cancel_run(run_id)
        self.relay.discard(run_id)

    def _is_current(self, run_id: UUID, invocation: int) -> bool:
        """Whether no later invocation has begun; a late worker must not stop that."""
        return not invocation or invocation >= self._invocations.get(run_id, 0)

    def _is_first(self, run_id: UUID, invocation: int) -> bool:
        """Whether this invocation is new here; owners and adopters may repeat it."""
        if self._invocations.get(run_id, 0) >= invocation:
            return False
        self._invocations.pop(run_id, None)
        self._invocations[run_id] = invocation
        if len(self._invocations) > _INVOCATIONS_REMEMBERED:
            self._invocations.popitem(last=False)
        return True


def _stops(cancel: dict[bytes, bytes], held: dict[bytes, bytes] | None) -> bool:
    """Whether a start that is kept back is of no later invocation than its stop."""
    if held is None:
        return False
    number = int(cancel.get(b"n", b"0"))
    return not number or number >= int(held.get(b"n", b"0"))


@lru_cache(maxsize=1)
def web_node() -> WebNode:
    """Return this process's node."""
    return WebNode()
