"""The plugin-runtime WebSocket, `/ws/plugin/` and `/plugin/debug/ws`."""

import asyncio
import contextlib
import itertools
import logging
from functools import partial
from typing import Any

from channels.consumer import AsyncConsumer
from django.db import Error as DatabaseFailure

from agents.registry.tokens import verify_plugin_token
from runners.gateway.node import WebNode, web_node
from runners.gateway.session import PluginSession

logger = logging.getLogger(__name__)

CLOSED_BY_HOST = 4008  # the server lets applications send 1000 and 3000 to 4999 only
TOKEN_HEADER = b"x-langbot-plugin-debug-key"
_MESSAGES_IN_A_ROW = 50
_CLOSE_SECONDS = 1.0
_REFUSED = {"type": "websocket.close"}


class PluginConsumer(AsyncConsumer):
    """Reads one socket. Overrides the dispatch, so a message costs no thread hop."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        node = web_node()
        node.start()
        header = dict(scope["headers"]).get(TOKEN_HEADER, b"").decode("latin-1")
        remote = str((scope.get("client") or ["?"])[0])
        if not await self._is_admitted(node, header, remote):
            await send(_REFUSED)  # before accept: HTTP 403, and the SDK waits 3 s
            return
        await send({"type": "websocket.accept"})
        await self._serve((header, remote), scope, receive, send)

    async def _is_admitted(self, node: WebNode, header: str, remote: str) -> bool:
        if not header:
            return node.throttle.admits(remote)
        # Only a token that was good once has a bucket: nobody can fill it for its
        # owner, and its owner does not suffer from others at the same address.
        is_known = node.throttle.knows(header)
        gate, key = (node.throttle, header) if is_known else (node.failures, remote)
        if not gate.has_room(key):
            return False
        try:
            token = await node.database(verify_plugin_token, header)
        except DatabaseFailure as error:
            logger.warning("no plugin is admitted now: %s", error)
            return False
        if token is None:
            logger.warning("a plugin at %s was refused: its token is wrong", remote)
            node.failures.admits(remote)
            return False
        return node.throttle.admits(header)

    async def _serve(
        self, origin: tuple[str, str], scope: Any, receive: Any, send: Any
    ) -> None:
        async def send_text(frame: bytes) -> None:
            await send({"type": "websocket.send", "text": frame.decode()})

        node, (header, remote) = web_node(), origin
        session = PluginSession(node, send_text, remote, header)
        node.add(session)
        backpressure = scope.get("extensions", {}).get("langbot.backpressure")
        if backpressure is not None:
            backpressure.on_stall = lambda *_: node.on_stall(session)
            backpressure.take = partial(_take, node, session)
        reading = asyncio.ensure_future(self._read(node, session, receive))
        closing = asyncio.ensure_future(session.closing.wait())
        try:
            await asyncio.wait({reading, closing}, return_when="FIRST_COMPLETED")
            if session.closing.is_set():
                await session.flush()
                # Behind what a plugin that does not read leaves unsent it would wait
                # for ever; the server closes when this returns.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await send({"type": "websocket.close", "code": CLOSED_BY_HOST})
        finally:
            for task in (reading, closing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await asyncio.shield(node.remove(session))

    async def _read(self, node: WebNode, session: PluginSession, receive: Any) -> None:
        for number in itertools.count(1):
            message = await receive()
            if message["type"] != "websocket.receive" or session.closing.is_set():
                return
            session.on_message(message.get("text"))
            if number % _MESSAGES_IN_A_ROW == 0:
                await asyncio.sleep(0)  # a full queue never waits by itself
            if not node.relay.drained.is_set():
                await node.relay.drained.wait()
            if not session.has_room.is_set():
                await session.has_room.wait()


def _take(node: WebNode, session: PluginSession, text: str) -> bool:
    """Handle a message at once, unless the socket closes or somebody has no room."""
    has_room = node.relay.drained.is_set() and session.has_room.is_set()
    if session.closing.is_set() or not has_room:
        return False
    session.on_message(text)
    return True
