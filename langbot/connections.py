"""The two kinds of connection that `langbot.server` serves, over Twisted."""

import asyncio
import time
from typing import Any

# First: importing it installs the asyncio reactor.
from daphne import server as _daphne_server  # noqa: F401 - imported for that effect
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as twisted_reactor
from websockets.speedups import apply_mask

from langbot.backpressure import Backpressure, Message, OutgoingGate

BODY_LIMIT = 2**30
# Bytes of a frame's head, RFC 6455 section 5.2.
TEXT_MESSAGE = 0x81
BINARY_MESSAGE = 0x82
MASKED = 0x80
TWO_BYTE_LENGTH = 126
SHORT_HEAD = 6  # with the mask
# What comes in small reads so soon after each other is read together (a read costs as
# much as eight deltas do). Waits only for what follows at once, and never longer.
_FOLLOWS_SECONDS = 0.002
_TOGETHER_SECONDS = 0.001
_SMALL_READ_BYTES = 16 * 1024

# The module stands for an AsyncioSelectorReactor, which no stub can know.
reactor: Any = twisted_reactor


def short_message(data: bytes, position: int) -> tuple[int, int] | None:
    """Return start and end of the payload of the short message that begins there.

    Short is masked, unfragmented and below 64 KiB; None when it is anything else. The
    end lies behind the data when the message has not come whole.
    """
    if data[position] not in (TEXT_MESSAGE, BINARY_MESSAGE):
        return None
    available = len(data) - position
    length = data[position + 1] - MASKED if available > 1 else 0
    if not 0 <= length <= TWO_BYTE_LENGTH:
        return None
    start = position + SHORT_HEAD
    if length < TWO_BYTE_LENGTH or available < SHORT_HEAD:
        return start, start + length
    length = int.from_bytes(data[position + 2 : position + 4])
    start += 2
    return None if length < TWO_BYTE_LENGTH else (start, start + length)


class SocketProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne is untyped
    """One WebSocket connection."""

    data: bytes  # what autobahn has received and not consumed yet
    _read_at = 0.0  # when the last read was, by the monotonic clock

    def onConnect(self, request: Any) -> Any:  # noqa: N802 - autobahn's name
        self.backpressure = Backpressure(self.transport)
        self.gate = OutgoingGate()
        self.transport.unregisterProducer()  # the HTTP channel it was upgraded from
        self.transport.registerProducer(self.gate, True)  # noqa: FBT003 - Twisted's API
        return super().onConnect(request)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803, FBT001 - autobahn's signature
        if self.muted:
            return
        self.last_ping = time.time()
        if isBinary:
            message = {"type": "websocket.receive", "bytes": payload}
            self.application_queue.put_nowait(message)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._fail_connection(1007, "a text message is not UTF-8")
            return
        take, queue = self.backpressure.take, self.application_queue
        if take is None or not queue.empty() or not take(text):
            queue.put_nowait({"type": "websocket.receive", "text": text})

    def onClose(self, *args: Any) -> None:  # noqa: N802 - autobahn's name
        if hasattr(self, "gate"):
            self.backpressure.close()
            self.gate.resumeProducing()
            super().onClose(*args)

    def consumeData(self) -> None:  # noqa: N802 - autobahn's name
        if self.state != self.STATE_OPEN or self.inside_message or self.current_frame:
            super().consumeData()
        else:
            self._consume_short_messages()

    def _consume_short_messages(self) -> None:
        """Take short messages at a fifth of what they cost in autobahn.

        What else comes (fragments, large messages, control frames, errors) is left to
        autobahn, and so is the rest of what was read with it.
        """
        data, position = self.data, 0
        span: tuple[int, int] | None = (0, 0)
        while position < len(data) and self.state == self.STATE_OPEN:
            span = short_message(data, position)
            if span is None or span[1] > len(data):
                break
            start, end = span
            payload = apply_mask(data[start:end], data[start - 4 : start])
            self.onMessage(payload, data[position] == BINARY_MESSAGE)
            position = end
        self.data = data[position:]
        if position and self.autoPingTimeoutCall is not None:
            self._cancelAutoPingTimeoutCall()
        if self.data and (span is None or self.state != self.STATE_OPEN):
            super().consumeData()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._dataReceived(data)  # without the log line that is built for every read
        earlier, self._read_at = self._read_at, time.monotonic()
        follows = self._read_at - earlier < _FOLLOWS_SECONDS
        if follows and len(data) < _SMALL_READ_BYTES and self.state == self.STATE_OPEN:
            self.transport.pauseProducing()
            asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self._read_on)

    def _read_on(self) -> None:
        if not self.backpressure.paused and self.transport.connected:
            self.transport.resumeProducing()

    def sendData(self, data: bytes, *args: Any) -> None:  # noqa: N802 - autobahn's name
        self.transport.write(data)  # we never chop, and log nothing for every write

    def handle_reply(self, message: Message) -> None:
        is_send = message["type"] == "websocket.send"
        if is_send and self.state not in (self.STATE_OPEN, self.STATE_CONNECTING):
            return  # closing: the application's disconnect message is on its way
        super().handle_reply(message)
        if is_send:
            self.gate.written(message)

    def check_timeouts(self) -> None:
        # No ping while the answer could not be read, nor while one is unanswered:
        # daphne loses the timer of the earlier ping and it cuts a healthy connection.
        if self.backpressure.paused or self.autoPingTimeoutCall is not None:
            self.last_ping = time.time()
        super().check_timeouts()

    def onAutoPingTimeout(self) -> None:  # noqa: N802 - autobahn's name
        if not self.backpressure.paused:
            super().onAutoPingTimeout()
            return
        self.autoPingTimeoutCall = reactor.callLater(
            self.autoPingTimeout, self.onAutoPingTimeout
        )

    def application_finished(self) -> None:
        """Close a socket that nobody would read any more."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=1000)

    def drain(self) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=1001, reasonUtf8=b"server shutting down")
        elif self.state == self.STATE_CONNECTING and hasattr(
            self, "handshake_deferred"
        ):
            self.serverReject()


class Request(WebRequest):  # type: ignore[misc]  # daphne is untyped
    """One HTTP request."""

    is_refused = False
    is_event_stream = False
    body_bytes = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.gate = OutgoingGate()
        # Django parses forms. Twisted would too, whole in memory, and answer a broken
        # one itself, without a body.
        super().__init__(*args, **kwargs, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        super().gotLength(length)
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.body_bytes += len(data)
        if self.body_bytes > BODY_LIMIT:
            self._refuse()
        if not self.is_refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        if not self.is_refused:
            self.is_refused = True
            self.channel.write(
                b"HTTP/1.1 413 Content Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.channel.loseConnection()

    def process(self) -> Any:
        return None if self.is_refused else super().process()

    def handle_reply(self, message: Message) -> None:
        if self.finished or self.channel is None:
            return
        if message["type"] == "http.response.start":
            self.is_event_stream = any(
                name.lower() == b"content-type" and b"event-stream" in value
                for name, value in message.get("headers", ())
            )
            if self.server.draining:
                self._close_when_done()
        elif message.get("more_body") and self.producer is None:
            self.registerProducer(self.gate, True)  # noqa: FBT003 - Twisted's API
        super().handle_reply(message)
        self.gate.written(message)

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
            self.gate.resumeProducing()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        self.gate.resumeProducing()
        super().connectionLost(reason)

    def application_finished(self) -> None:
        pass

    def drain(self) -> None:
        if self.finished or not getattr(self, "channel", None):
            return
        self._close_when_done()
        if self.is_event_stream:
            self.finish()  # it has no end of its own; the client resumes elsewhere

    def _close_when_done(self) -> None:
        self.channel.persistent = False
        self.responseHeaders.setRawHeaders(b"connection", [b"close"])


class RequestFactory(HTTPFactory):  # type: ignore[misc]  # daphne is untyped
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class SocketFactory(WebSocketFactory):  # type: ignore[misc]  # daphne is untyped
    protocol = SocketProtocol
