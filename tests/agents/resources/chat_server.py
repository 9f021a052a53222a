"""A small OpenAI-compatible HTTP server whose answers a test writes down."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

LONG_SECONDS = 5.0


@dataclass
class Exchange:
    """One request, and the ways to answer it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    target: str
    headers: dict[str, str]
    body: Any

    async def send(self, status: int, data: Any, **headers: str) -> None:
        """Answer with JSON, or with text as it is."""
        kind = "text/html" if isinstance(data, str) else "application/json"
        payload = (data if isinstance(data, str) else json.dumps(data)).encode()
        self._head(status, {"content-type": kind, "content-length": str(len(payload))})
        self.writer.write(payload)
        await self.writer.drain()

    def open_stream(self) -> None:
        """Begin a stream that ends with the connection or with `end_stream`."""
        kind = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        self._head(200, kind)

    async def event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        await self.raw(f"data: {text}\n\n")

    async def raw(self, text: str) -> None:
        payload = text.encode()
        self.writer.write(b"%x\r\n%b\r\n" % (len(payload), payload))
        await self.writer.drain()

    async def end_stream(self) -> None:
        await self.event("[DONE]")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def stream(self, *events: Any) -> None:
        """Answer with these events and the regular end."""
        self.open_stream()
        for event in events:
            await self.event(event)
        await self.end_stream()

    async def peer_left(self) -> bool:
        """Wait until the client closed its side of the connection."""
        async with asyncio.timeout(LONG_SECONDS):
            return await self.reader.read(1) == b""

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Status", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())


class ChatServer:
    """Counts its requests; `failure` is what a script of a test raised."""

    def __init__(self, script: Callable[[Exchange], Awaitable[None]]) -> None:
        self.script = script
        self.exchanges: list[Exchange] = []
        self.finished = asyncio.Event()
        self.failure: BaseException | None = None
        self.url = ""

    async def serve(self, reader, writer) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            target = head[0].split()[1]
            exchange = Exchange(reader, writer, target, headers, json.loads(body))
            self.exchanges.append(exchange)
            await self.script(exchange)
        except (OSError, AssertionError, TimeoutError) as error:
            self.failure = error
        finally:
            self.finished.set()
            writer.close()


@asynccontextmanager
async def chat_server(script: Callable[[Exchange], Awaitable[None]]):
    """Serve on a free local port."""
    server = ChatServer(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()[:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        listener.close()


def delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return a chunk of a streamed completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "cmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def completion(**message: Any) -> dict[str, Any]:
    """Return a whole completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "cmpl-1", "choices": [choice], "usage": usage}
