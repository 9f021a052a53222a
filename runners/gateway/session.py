"""One plugin socket: handshake, open requests, the runs it carries.

Everything here runs on the web node's loop. `on_message` never awaits: a plugin calls
back on the same socket while its run streams, so nothing may block reading.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agents.registry.connections import Registered
from langbot.lib.ids import read_uuid, uuid7
from runners.gateway.call_limits import CallLimits
from runners.gateway.files import FileReceiver
from runners.gateway.local_calls import LOCAL
from runners.gateway.run_streams import CallStream, RunStream, delta_of
from runners.host_api.connection_calls import CALLS_AT_ONCE, Asked
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import (
    Action,
    FrameError,
    Request,
    Response,
    build_end,
    build_error,
    build_request,
    build_response,
    parse_frame,
)
from runners.protocol.results import TERMINAL_TYPES

if TYPE_CHECKING:
    from runners.gateway.node import WebNode

logger = logging.getLogger(__name__)

Send = Callable[[bytes], Awaitable[None]]

ANSWER_SECONDS = 15.0  # wire 2.9
REGISTERED_SECONDS = 3.0  # that a call without a run waits for the end of registering
# Of frames that wait for one plugin. From the first on no further run is started and
# nothing more is read of it, so that answers do not pile up before one that takes none;
# 20 s of that end the socket. Of what comes all the same, taking nothing for 10 s does.
_BUSY_OUT_BYTES = 4 * 1024 * 1024
_SILENT_SECONDS = 20.0
_MAX_OUT_BYTES = 20 * 1024 * 1024 + 1024
_STALL_SECONDS = 10.0
_HARD_OUT_BYTES = 64 * 1024 * 1024  # cut off at once
_FRAME_OVERHEAD = 100  # bytes that a queued frame takes beside its own
_FIRST_SEQ_BELOW = 10**9


class SocketClosedError(Exception):
    """The plugin went away before it answered."""


class PluginSession:
    """State of one accepted socket; dropped with it."""

    def __init__(
        self, node: "WebNode", send: Send, remote: str, header_token: str
    ) -> None:
        self.id = uuid7()
        self.remote = remote
        self.header_token = header_token
        self.is_admitted = False  # its token is good; from here on it is answered
        self.registered: Registered | None = None
        self.files = FileReceiver()
        self.limits = CallLimits()
        self.closing = asyncio.Event()
        self.closing_reason = ""
        self.registration: asyncio.Task[None] | None = None
        self._is_closed = False
        self._node = node
        self._send = send
        # What a plugin still sends for its last socket must not hit a stream of this.
        self._next_seq = secrets.randbelow(_FIRST_SEQ_BELOW)
        self._answers: dict[int, asyncio.Future[Response]] = {}
        self._streams: dict[int, RunStream] = {}
        self._runs: dict[UUID, RunStream] = {}
        self._stream_calls: dict[int, CallStream] = {}
        self._open_calls = 0  # that no worker answers
        self._own_streams: dict[int, asyncio.Task[None]] = {}
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.has_room = asyncio.Event()  # for answers; else nothing more is read
        self.has_room.set()
        self._out_bytes = 0
        self._moved_at = 0.0  # when something was sent, or began to wait
        self.held: dict[UUID, dict[bytes, bytes]] = {}
        """Messages that start runs, until what is queued has been sent."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.spawn(self._write_forever())

    @property
    def run_ids(self) -> set[UUID]:
        """Runs that are open on this socket."""
        return set(self._runs)

    @property
    def is_busy(self) -> bool:
        """Whether over 4 MiB wait to be sent: no time to start a run."""
        return self._out_bytes > _BUSY_OUT_BYTES

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` beside reading; it is cancelled with the socket."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def end(self, reason: str) -> None:
        """Have the socket closed; the reason is kept with the connection."""
        self.closing_reason = self.closing_reason or reason
        self.closing.set()

    # Sending

    def send(self, frame: bytes) -> None:
        """Queue a frame; a plugin that does not read for long or much is cut off."""
        if not self._out_bytes:
            self._moved_at = time.monotonic()
        self._out_bytes += len(frame) + _FRAME_OVERHEAD
        self._outbox.put_nowait(frame)
        if self.is_busy:
            self.has_room.clear()
        self.check_reading()

    def check_reading(self) -> None:
        """Cut the plugin off when it takes nothing for long, or 64 MiB wait for it."""
        idle = time.monotonic() - self._moved_at
        allowed = _MAX_OUT_BYTES if idle > _STALL_SECONDS else _HARD_OUT_BYTES
        if idle > _SILENT_SECONDS:
            allowed = _BUSY_OUT_BYTES
        if self._out_bytes > allowed:
            logger.warning("plugin connection %s does not read", self.id)
            self.end("the plugin does not read what it is sent")

    def send_chunk(self, frame: bytes, call: int, number: int) -> None:
        """Send the next chunk of a streaming call's answer.

        When one is missing or comes again (its worker died, Redis was restarted) the
        plugin must not take what follows for the rest: the stream ends with an error.
        """
        stream = self._stream_calls.get(call)
        if stream is None:
            return
        if number == stream.sent + 1:
            stream.sent = number
            self.send(frame)
            return
        del self._stream_calls[call]
        message = "the answer was interrupted"
        error = ProtocolError(ErrorCode.UNAVAILABLE, message, retryable=True)
        self.send(build_error(call, error))

    async def flush(self) -> None:
        """Wait up to 1 s until what is queued has been sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._out_bytes:
                    await asyncio.sleep(0.01)

    async def request(self, action: str, data: dict[str, Any]) -> Response:
        """Ask the plugin; raises TimeoutError after 15 s, ProtocolError on refusal.

        Raises SocketClosedError at once when there is nobody to ask.
        """
        if self._is_closed:
            raise SocketClosedError
        seq_id = self._take_seq()
        answer = asyncio.get_running_loop().create_future()
        self._answers[seq_id] = answer
        self.send(build_request(seq_id, action, data))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response: Response = await answer
        finally:
            self._answers.pop(seq_id, None)
        if response.is_error:
            raise response.error(action)
        return response

    def start_run(self, run_id: UUID, action: str, data: bytes) -> None:
        """Send the run request; a repeat for an open run is ignored."""
        if run_id in self._runs:
            return
        seq_id = self._take_seq()
        stream = RunStream(run_id, seq_id)
        self._streams[seq_id] = self._runs[run_id] = stream
        head = b'{"seq_id":%d,"action":"%s","data":' % (seq_id, action.encode())
        self.send(head + data + b"}")

    def cancel_run(self, run_id: UUID) -> None:
        """Stop the run's task in the plugin; nothing more of it is relayed.

        SDKs before 0.6.12 answer that they do not know the action; they stop by
        themselves when `run_get` tells them, or at the deadline.
        """
        stream = self._forget_run(run_id)
        if stream is not None:
            cancel = build_request(
                self._take_seq(), Action.CANCEL_ACTION, {"seq_id": stream.seq_id}
            )
            self.send(cancel)

    def _take_seq(self) -> int:
        self._next_seq += 1
        return self._next_seq

    async def _write_forever(self) -> None:
        while True:
            frame = await self._outbox.get()
            await self._send(frame)
            self._out_bytes -= len(frame) + _FRAME_OVERHEAD
            self._moved_at = time.monotonic()
            if not self.is_busy:
                self.has_room.set()
                if self.held:
                    self._node.release_held(self)

    # Receiving

    def on_message(self, text: str | None) -> None:
        """Handle one message; a bad one gets a typed error where it can."""
        if text is None:
            self._on_bad_frame(FrameError("a frame is a text message"))
            return
        if self._relay_delta(text):
            return
        try:
            frame = parse_frame(text)
        except FrameError as error:
            self._on_bad_frame(error)
            return
        if isinstance(frame, Response):
            self._on_response(frame, text)
        elif not self.is_admitted:
            self._node.on_unregistered_request(self, frame)
        else:
            self._on_request(frame, text)

    def _relay_delta(self, text: str) -> bool:
        """Relay what begins and ends as the SDK's deltas do; its worker parses it.

        Nearly all messages are such; this takes a fifth of what parsing one takes.
        """
        stream = self._streams.get(delta_of(text))
        if stream is None or not stream.has_begun:
            return False
        self._node.relay.push(stream.run_id, text.encode(), can_wait=True)
        return True

    def _on_bad_frame(self, error: FrameError) -> None:
        self._node.count_bad_frame(self)
        if not self.is_admitted:
            self.end("what it sent before registering is no frame")
        elif error.seq_id is not None and error.seq_id not in self._streams:
            self.send(build_error(error.seq_id, error))

    def _on_response(self, response: Response, text: str) -> None:
        stream = self._streams.get(response.seq_id)
        if stream is not None:
            begun, stream.has_begun = stream.has_begun, True
            can_wait = begun and not response.is_end
            kind, result = response.data.get("type"), response.data.get("data")
            if kind == "message.completed" and isinstance(result, dict):
                self._hand_over(stream.run_id, result.get("file_ids"))
            self._node.relay.push(stream.run_id, text.encode(), can_wait=can_wait)
            if isinstance(kind, str) and kind in TERMINAL_TYPES:
                # Nothing counts after it; waiting for the transport's own end would
                # write to a stream that its worker may have deleted by then.
                self._node.relay.push(stream.run_id, build_end(response.seq_id))
                self._forget_run(stream.run_id)
            elif response.is_end:
                self._forget_run(stream.run_id)
            return
        answer = self._answers.get(response.seq_id)
        if answer is not None and not answer.done():
            answer.set_result(response)

    def _on_request(self, request: Request, text: str) -> None:
        try:
            self.limits.check(request, len(text))
            if request.action in LOCAL:
                self.send(
                    build_response(
                        request.seq_id, LOCAL[request.action](self.files, request)
                    )
                )
                return
            if self._node.calls.takes(self.registered, request):
                self._begin_call(request)
            else:
                self._relay_call(request, text)
        except ProtocolError as error:
            self.limits.count_refusal(request, error, self.registered)
            self.send(build_error(request.seq_id, error))

    def _begin_call(self, request: Request) -> None:
        """Have a call without a run answered beside reading."""
        if self._open_calls >= CALLS_AT_ONCE:
            message = f"at most {CALLS_AT_ONCE} calls without a run at once"
            raise ProtocolError(ErrorCode.RATE_LIMITED, message, retryable=True)
        self._open_calls += 1
        answering = self.spawn(self._answer_call(request))
        if request.action == Action.INVOKE_LLM_STREAM:
            self._own_streams[request.seq_id] = answering

    async def _answer_call(self, request: Request) -> None:
        try:
            if self.registered is None and self.registration is not None:
                # Bounded: the rest of its registration may wait for this very call.
                await asyncio.wait({self.registration}, timeout=REGISTERED_SECONDS)
            note = partial(self.limits.count_refusal, request, caller=self.registered)
            asked = Asked(self.registered, request, self.send, note)
            self.send(await self._node.calls.answer(asked))
        finally:
            self._open_calls -= 1
            self._own_streams.pop(request.seq_id, None)

    def _relay_call(self, request: Request, text: str) -> None:
        if request.action == Action.CANCEL_ACTION:
            wanted = request.data.get("seq_id")
            call = self._stream_calls.get(wanted) if type(wanted) is int else None
            if call is None:
                answer = {"cancelled": self._cancel_own(wanted)}
                self.send(build_response(request.seq_id, answer))
                return
            run = call.run
        else:
            run = self._run_of(request)
        if request.action == Action.INVOKE_LLM_STREAM:
            run.calls.append(request.seq_id)
            self._stream_calls[request.seq_id] = CallStream(run)
        elif request.action == Action.CALL_PLATFORM_API:
            self._hand_over(run.run_id, request.data.get("file_ids"))
        self._node.relay.push(run.run_id, text.encode())

    def _cancel_own(self, wanted: Any) -> bool:
        """Stop a stream that is answered here; its consumer waits for nothing more."""
        own = self._own_streams.get(wanted) if type(wanted) is int else None
        return own is not None and own.cancel()

    def _hand_over(self, run_id: UUID, names: Any) -> None:
        for frame in self.files.frames_of(names):
            self._node.relay.push(run_id, frame)

    def _run_of(self, request: Request) -> RunStream:
        given = request.data.get("run_id")
        if given is None:
            message = f"Action {request.action[:100]} not found"
            raise ProtocolError(ErrorCode.ACTION_NOT_FOUND, message)
        run_id = read_uuid(given)
        run = self._runs.get(run_id) if run_id is not None else None
        if run is None:
            message = f"Run session {str(given)[:64]} not found or expired"
            raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, message)
        return run

    def _forget_run(self, run_id: UUID) -> RunStream | None:
        stream = self._runs.pop(run_id, None)
        if stream is not None:
            self._streams.pop(stream.seq_id, None)
            for seq_id in stream.calls:
                self._stream_calls.pop(seq_id, None)
            self._node.relay.close(run_id)
        return stream

    async def close(self) -> None:
        """Cancel what runs beside the socket and fail what waits on it.

        A registration that is being written is waited for, so that its row can be
        marked as gone afterwards.
        """
        self._is_closed = True
        for task in list(self._tasks):
            task.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SocketClosedError())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.registration is not None:
            await asyncio.wait({self.registration})
