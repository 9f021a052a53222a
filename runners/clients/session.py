"""One client that follows one run: its token, its place in the events, its acts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from uuid import UUID

from langbot.lib.buckets import LocalBucket
from langbot.lib.db import DATABASE_FAILURES, DatabaseExecutor
from runners.choices import EventType
from runners.client_tools import CLIENT
from runners.clients import access, calls
from runners.clients.access import Client
from runners.clients.followers import followers
from runners.clients.frames import (
    AUTH_CHARACTERS,
    CLOSE_COMPLETE,
    CLOSE_FAILED,
    CLOSE_FLOOD,
    CLOSE_REPLACED,
    MAXIMUM_CHARACTERS,
    Auth,
    FrameError,
    Interrupt,
    ToolResult,
    event_frame,
    read_frame,
    write_frame,
)
from runners.clients.tokens import ExpiredTokenError, InvalidTokenError
from runners.live import follow_batches
from runners.live_hub import LiveEvent

logger = logging.getLogger(__name__)

AUTH_SECONDS = 15.0  # for the first frame
RENEW_SECONDS = 60.0  # for another token, after one expired
FRAMES_PER_SECOND, FRAMES_BURST = 20, 100
REFUSALS = 100  # frames over that rate; then the socket closes
_PAUSE_SECONDS = 0.2
_RETRY_SECONDS = 2.0

Send = Callable[[str], Awaitable[None]]
Close = Callable[[int], Awaitable[None]]
database = DatabaseExecutor("clients")


class RunSession:
    """Used on one loop. `send` takes a text frame and waits while a client is slow.

    What a slow client has not taken stays in the ledger: a session holds one batch of
    events and the bounded buffer of its subscription (AG-51).
    """

    def __init__(self, run_id: str, send: Send, close: Close) -> None:
        self._run_id = run_id
        self._send, self._close = send, close
        self._client: Client | None = None
        self._position = 0
        self._expires_at = 0.0
        self._authorised = asyncio.Event()
        self._is_over = False
        self._bucket = LocalBucket(FRAMES_PER_SECOND, FRAMES_BURST)
        self._refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Wait for the client's token."""
        self._spawn(self._guard())

    async def end(self) -> None:
        """Forget the client; its run goes on (LO-06)."""
        self._is_over = True
        if self._client is not None:
            followers().leave(self._client.key, self)
        own = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Frames of the client

    async def receive(self, text: str | None) -> None:
        """Take one frame; a bad one is answered with an error."""
        if self._is_over or await self._is_flooding():
            return
        try:
            await self._take(text)
        except FrameError as error:
            named = {} if error.call_id is None else {"call_id": str(error.call_id)}
            await self._tell("error", code=error.code, detail=str(error), **named)
        except DATABASE_FAILURES as error:
            logger.warning("client frame failed: %s", type(error).__name__)
            detail = "the database does not answer"
            await self._tell("error", code="unavailable", detail=detail)

    async def _is_flooding(self) -> bool:
        wait = self._bucket.take()
        if not wait:
            return False
        self._refused += 1
        if self._refused > REFUSALS:
            await self._finish(CLOSE_FLOOD)
        else:
            detail = f"try again in {wait:.3g} s"
            await self._tell("error", code="rate_limited", detail=detail)
        return True

    async def _take(self, text: str | None) -> None:
        most = AUTH_CHARACTERS if self._client is None else MAXIMUM_CHARACTERS
        frame = read_frame(text, most)
        if isinstance(frame, Auth):
            await self._authenticate(frame)
        elif isinstance(frame, Interrupt):
            client = self._actor()
            await self._tell("stopped", stopped=await database(access.stop_run, client))
        elif isinstance(frame, ToolResult):
            await self._answer(frame)

    async def _answer(self, frame: ToolResult) -> None:
        client = self._actor(frame.call_id)
        answer = {"error": frame.error} if frame.error else {"result": frame.result}
        try:
            await database(
                calls.answer_call, client.run, frame.call_id, answer, client.name
            )
        except calls.CallRefusedError as error:
            raise FrameError(error.code, str(error), frame.call_id) from None
        await self._tell("tool_accepted", call_id=str(frame.call_id))

    def _actor(self, call_id: UUID | None = None) -> Client:
        if self._client is None or not self._authorised.is_set():
            raise FrameError("not_authenticated", "send auth first", call_id)
        if not self._client.may_act:
            detail = "you may only follow this run"
            raise FrameError("permission_denied", detail, call_id)
        return self._client

    # Tokens

    async def _authenticate(self, frame: Auth) -> None:
        try:
            client = await database(access.admit_client, self._run_id, frame.token)
        except ExpiredTokenError as error:
            await self._tell("auth_expired", detail=str(error))
            return
        except InvalidTokenError as error:
            await self._refuse("invalid_token", str(error))
            return
        if self._client is not None and client.key != self._client.key:
            await self._refuse("invalid_token", "the token is another person's")
            return
        await self._admit(client, frame.resume_from)

    async def _admit(self, client: Client, resume_from: int) -> None:
        is_first, self._client = self._client is None, client
        self._expires_at = client.holder.expires_at
        await self._tell(
            "auth_ok",
            run_id=str(client.run.public_id),
            status=str(client.run.status),
            last_seq=client.run.last_seq,
            expires_at=self._expires_at,
            pending_actions=client.asked,
        )
        self._authorised.set()
        if is_first and not self._is_over:
            self._position = min(resume_from, client.run.last_seq)
            await followers().join(client.key, self)
            self._spawn(self._follow(client))

    async def replaced(self) -> None:
        """Close it: the person has a newer connection to this run (LO-01)."""
        await self._finish(CLOSE_REPLACED)

    async def _guard(self) -> None:
        """Refuse who sends no token in time, and ask for another before it expires."""
        patience = AUTH_SECONDS
        while True:
            try:
                async with asyncio.timeout(patience):
                    await self._authorised.wait()
            except TimeoutError:
                await self._refuse("auth_timeout", "no valid token came in time")
                return
            while (left := self._expires_at - time.time()) > 0:
                await asyncio.sleep(left)
            self._authorised.clear()
            patience = RENEW_SECONDS
            await self._tell("auth_expired", detail="the token has expired")

    async def _refuse(self, code: str, detail: str) -> None:
        await self._tell("auth_failed", code=code, detail=detail)
        await self._finish(CLOSE_FAILED)

    # Events

    async def _follow(self, client: Client) -> None:
        while not await self._follow_once(client):
            await asyncio.sleep(_PAUSE_SECONDS)
        await self._authorised.wait()
        ended = await self._until_database(client)
        await self._tell("session_complete", **ended)
        await self._finish(CLOSE_COMPLETE)

    async def _follow_once(self, client: Client) -> bool:
        """Send what comes; whether that was all. A stream that was too slow ends."""
        try:
            batches = follow_batches(client.run.public_id, self._position)
            async with aclosing(batches):
                async for batch in batches:
                    await self._authorised.wait()
                    if await self._show(client, batch):
                        return True
            return await database(access.has_ended, client.run.pk, self._position)
        except DATABASE_FAILURES as error:
            logger.warning("client stream failed: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
            return False

    async def _show(self, client: Client, batch: list[LiveEvent]) -> bool:
        if not batch:
            await self._tell("heartbeat")
        for event in batch:
            await self._transmit(event_frame(event))
            await self._offer(client, event)
            self._position = event.seq
            if event.ends:
                return True
        return False

    async def _offer(self, client: Client, event: LiveEvent) -> None:
        """Ask who may act to execute a tool, while nobody has answered for it."""
        if event.document["type"] != EventType.TOOL_CALL_STARTED or not client.may_act:
            return
        data = event.document["data"]
        if data.get("executor") == CLIENT:
            call_id = str(data.get("tool_call_id"))
            asked = await database(calls.open_request, client.run.pk, call_id)
            if asked is not None:
                await self._tell("tool_request", **asked)

    async def _until_database(self, client: Client) -> dict[str, object]:
        while True:
            try:
                ended: dict[str, object] = await database(
                    access.ended_run, client.run.pk
                )
            except DATABASE_FAILURES:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return ended

    # The socket

    async def _tell(self, kind: str, **members: object) -> None:
        await self._transmit(write_frame(kind, **members))

    async def _transmit(self, text: str) -> None:
        if not self._is_over:
            await self._send(text)

    async def _finish(self, code: int) -> None:
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(OSError):
                await self._close(code)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(_log_defect)
        self._tasks.append(task)


def _log_defect(task: "asyncio.Future[None]") -> None:
    """Say why a stream stopped; nobody awaits its task until the socket closes."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("client stream stopped", exc_info=task.exception())
