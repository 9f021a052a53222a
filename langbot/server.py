"""Daphne with backpressure: what `web` processes run as `python -m langbot.server`.

Stock daphne reads a socket without end into the application's queue, writes without end
into the transport's buffer and drops what is open when told to stop. Here the buffers
are those of `langbot.backpressure`, and SIGTERM drains.
"""

import argparse
import asyncio
import importlib
import io
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from daphne import server as daphne_server  # first: it installs the asyncio reactor
from daphne.endpoints import build_endpoint_description_strings
from twisted.internet import defer
from twisted.internet import reactor as twisted_reactor
from twisted.logger import LogLevel, formatEvent, globalLogBeginner

from langbot.backpressure import BodyQueue, Message, SocketQueue
from langbot.connections import RequestFactory, SocketFactory, SocketProtocol
from langbot.lib.collector import settle

# The module stands for an AsyncioSelectorReactor, which no stub can know.
reactor: Any = twisted_reactor
logger = logging.getLogger("langbot.server")

MESSAGE_LIMIT = 16 * 2**20  # architecture.md §7
DRAIN_SECONDS = 10
CLOSE_HANDSHAKE_SECONDS = 5

Application = Callable[..., Coroutine[Any, Any, None]]


def keep_failure(event: dict[str, Any]) -> None:
    """Log what Twisted caught; the rest of its log is a line for every connection.

    It catches whatever a protocol raises while it reads, and cuts that connection.
    """
    if event.get("log_level", LogLevel.info) < LogLevel.error:
        return
    failure = event.get("log_failure")
    told = failure and (failure.type, failure.value, failure.getTracebackObject())
    logger.error("A connection failed: %s", formatEvent(event), exc_info=told or None)


class BackpressureServer(daphne_server.Server):  # type: ignore[misc]  # daphne is untyped
    """Serve an ASGI application with bounded buffers and a graceful end."""

    draining = False

    def __init__(self, application: Application, endpoints: list[str]) -> None:
        super().__init__(
            application,
            endpoints=endpoints,
            signal_handlers=False,
            websocket_timeout=-1,  # daphne cuts every socket after 24 h
            websocket_max_message_size=MESSAGE_LIMIT,
            websocket_max_frame_size=MESSAGE_LIMIT,
            server_name="langbot",
        )
        self.ports: list[Any] = []
        self._drain: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        self._make_factories()
        observer: Any = keep_failure
        globalLogBeginner.beginLoggingTo(
            [observer], redirectStandardIO=False, discardBuffer=True
        )
        loop = reactor._asyncioEventloop
        asyncio.set_event_loop(loop)
        self._listen()
        if not self.abort_start:
            self._watch(loop)
            reactor.run(installSignalHandlers=False)

    def _make_factories(self) -> None:
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = RequestFactory(self)
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            closeHandshakeTimeout=CLOSE_HANDSHAKE_SECONDS,
            maxMessagePayloadSize=MESSAGE_LIMIT,
            maxFramePayloadSize=MESSAGE_LIMIT,
            failByDrop=False,  # a refused peer gets a close code instead of a reset
            utf8validateIncoming=False,  # decoding validates; twice costs 1 to 4 µs
            perMessageCompressionAccept=lambda offers: None,
        )

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.begin_drain)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)

    def _listen(self) -> None:
        for description in self.endpoints:
            endpoint = daphne_server.serverFromString(reactor, description)
            listener = endpoint.listen(self.http_factory)
            listener.addCallback(self.listen_success)
            listener.addErrback(self.listen_error)

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        address = port.getHost()
        logger.info("Listening on %s:%s", address.host, address.port)

    def create_application(
        self, protocol: Any, scope: Message
    ) -> asyncio.Queue[Message]:
        scope["asgi"] = {"version": "3.0"}
        queue: asyncio.Queue[Message]
        if isinstance(protocol, SocketProtocol):
            queue = SocketQueue(protocol.backpressure)
            extension = {"langbot.backpressure": protocol.backpressure}
            scope["extensions"] = extension
        else:
            # daphne goes on to queue what is left in `content`: nothing.
            body, protocol.content = protocol.content, io.BytesIO()
            queue = BodyQueue(body)
        send = partial(self.handle_reply, protocol)
        task = asyncio.ensure_future(self.application(scope, queue.get, send))
        task.add_done_callback(partial(self.application_finished, protocol))
        self.connections[protocol]["application_instance"] = task
        return queue

    def protocol_disconnected(self, protocol: Any) -> None:
        # A refused socket disconnects twice, and may have been reaped in between.
        if protocol in self.connections:
            super().protocol_disconnected(protocol)

    def application_finished(self, protocol: Any, task: asyncio.Task[None]) -> None:
        # After an exception daphne's application_checker reports and closes.
        if not task.cancelled() and task.exception() is None:
            protocol.application_finished()

    async def handle_reply(self, protocol: Any, message: Message) -> None:
        """Hand a message to the protocol, waiting while its buffer is full."""
        if self._is_gone(protocol):
            await asyncio.sleep(0)  # an application that ignores its disconnect
        elif protocol.gate.is_open:
            self._reply(protocol, message)
        else:
            await protocol.gate.wait_turn(partial(self._reply, protocol, message))

    def _is_gone(self, protocol: Any) -> bool:
        details = self.connections.get(protocol)
        return details is None or "disconnected" in details

    def _reply(self, protocol: Any, message: Message) -> None:
        if self._is_gone(protocol):
            return
        try:
            self.check_headers_type(message)
        except ValueError:
            protocol.basic_error(500, b"Server Error", "Server Error")
            raise
        protocol.handle_reply(message)

    def begin_drain(self) -> None:
        """Stop gracefully; a second call stops at once."""
        if self.draining:
            self.stop()
            return
        self.draining = True
        self._drain = asyncio.ensure_future(self.drain())

    async def drain(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_SECONDS
        for port in self.ports:
            port.stopListening()
        for protocol in list(self.connections):
            protocol.drain()
        while self._is_busy() and loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.stop()

    def _is_busy(self) -> bool:
        return bool(reactor.getWriters()) or bool(self._running_applications())

    def _running_applications(self) -> list[asyncio.Task[None]]:
        tasks = [d.get("application_instance") for d in self.connections.values()]
        return [task for task in tasks if task is not None and not task.done()]

    def kill_all_applications(self) -> Any:
        tasks = self._running_applications()
        for task in tasks:
            task.cancel()
        if not tasks:
            return None
        waiting = asyncio.ensure_future(asyncio.wait(tasks, timeout=2))
        return defer.Deferred.fromFuture(waiting)


def build_server(
    host: str,
    port: int,
    *,
    application: Application,
    file_descriptor: int | None = None,
) -> BackpressureServer:
    """Make a server for `host`:`port` (0: any free one) or an inherited socket."""
    endpoints = (
        build_endpoint_description_strings(host=host, port=port)
        if file_descriptor is None
        else build_endpoint_description_strings(file_descriptor=file_descriptor)
    )
    return BackpressureServer(application, endpoints)


def load_application(dotted_name: str) -> Application:
    module_name, _, attribute = dotted_name.partition(":")
    application: Application = getattr(importlib.import_module(module_name), attribute)
    return application


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; returns 1 when it could not listen."""
    parser = argparse.ArgumentParser(prog="python -m langbot.server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="listen on this inherited socket")
    parser.add_argument("--application", default="langbot.asgi:application")
    options = parser.parse_args(argv)
    application = load_application(options.application)
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    server = build_server(
        options.host,
        options.port,
        application=application,
        file_descriptor=options.fd,
    )
    settle()
    server.run()
    return 1 if server.abort_start else 0


if __name__ == "__main__":
    sys.exit(main())
