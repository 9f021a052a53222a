"""Small ASGI applications that behave badly on purpose, chosen by path."""

import asyncio
import hashlib
import json
import time

BLOCK = b"data: " + b"x" * 65_000 + b"\n\n"


async def application(scope, receive, send):
    if scope["type"] not in ("http", "websocket"):
        raise ValueError(scope["type"])
    name = scope["path"].strip("/").replace("-", "_")
    await globals()[f"{scope['type']}_{name}"](scope, receive, send)


async def websocket_never_reads(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.Event().wait()


async def websocket_reports_stall(scope, receive, send):
    """Never read; send every stall event, read again once two have come."""
    await receive()
    await send({"type": "websocket.accept"})
    stalls: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    backpressure = scope["extensions"]["langbot.backpressure"]
    backpressure.on_stall = stalls.put_nowait
    for _ in range(2):
        event = await stalls.get()
        await send({"type": "websocket.send", "text": json.dumps(event)})
    while backpressure.unread_bytes:
        await receive()
    await send({"type": "websocket.send", "text": "drained"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def websocket_refused_while_reaped(scope, receive, send):
    """Refuse in the turn of the loop in which the server reaps what has ended."""
    await receive()
    time.sleep(1.2)  # blocks until the reaper is due, each second
    await asyncio.sleep(0)
    await send({"type": "websocket.close"})


async def websocket_echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def websocket_reads(scope, receive, send):
    """Answer "count" with how many reads of the socket brought the messages before."""
    await receive()
    await send({"type": "websocket.accept"})
    loop = asyncio.get_running_loop()
    reads: list[int] = []
    known = [0]

    def take(text):
        if text == "count":
            return False
        if reads[-1:] != known:
            reads.extend(known)
            # Only what the same read brings is taken before the loop's next turn.
            loop.call_soon(lambda: known.append(known.pop() + 1))
        return True

    scope["extensions"]["langbot.backpressure"].take = take
    await receive()
    await send({"type": "websocket.send", "text": str(len(reads))})
    await receive()


async def websocket_digest(scope, receive, send):
    """Read in bursts with pauses; answer count and checksum after a text message."""
    await receive()
    await send({"type": "websocket.accept"})
    count, checksum = 0, hashlib.sha256()
    backpressure = scope["extensions"]["langbot.backpressure"]
    was_paused = False
    while "bytes" in (message := await receive()):
        count += 1
        checksum.update(message["bytes"])
        if count % 100 == 1:
            await asyncio.sleep(0.05)
            was_paused = was_paused or backpressure.paused
    answer = [count, checksum.hexdigest(), was_paused]
    await send({"type": "websocket.send", "text": json.dumps(answer)})
    await receive()


async def websocket_flood(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "bytes": BLOCK})


async def websocket_many_senders(scope, receive, send):
    """Send 1,000 numbered blocks from as many tasks, then end."""
    await receive()
    await send({"type": "websocket.accept"})
    async with asyncio.TaskGroup() as group:
        for number in range(1000):
            payload = number.to_bytes(4) + BLOCK
            group.create_task(send({"type": "websocket.send", "bytes": payload}))


async def websocket_fails(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    raise RuntimeError("on purpose")


async def websocket_takes_badly(scope, receive, send):
    """Raise while the server itself reads the socket."""

    def take(text):
        raise ValueError(f"cannot take {len(text)}")

    await receive()
    scope["extensions"]["langbot.backpressure"].take = take
    await send({"type": "websocket.accept"})
    await receive()


async def _start(send, content_type=b"text/plain"):
    headers = [(b"content-type", content_type)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def http_stream(scope, receive, send):
    await _start(send, b"text/event-stream")
    while True:
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


async def http_slow(scope, receive, send):
    await asyncio.sleep(1.5)
    await _start(send)
    await send({"type": "http.response.body", "body": b"done " * 400_000})


async def http_quick(scope, receive, send):
    await _start(send)
    await send({"type": "http.response.body", "body": b"quick"})


async def http_waits(scope, receive, send):
    """An event stream that says one thing and waits."""
    await _start(send, b"text/event-stream")
    body = b"data: hello\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def http_digest(scope, receive, send):
    """Read the body slowly enough to see it come in pieces."""
    size, largest, checksum, more_body = 0, 0, hashlib.sha256(), True
    while more_body:
        message = await receive()
        body, more_body = message["body"], message["more_body"]
        size, largest = size + len(body), max(largest, len(body))
        checksum.update(body)
    await _start(send)
    answer = json.dumps([size, largest, checksum.hexdigest()])
    await send({"type": "http.response.body", "body": answer.encode()})


async def http_ignores_body(scope, receive, send):
    """Leave the body unread for a while, as a request waiting its turn would."""
    await asyncio.sleep(2)
    await _start(send)
    await send({"type": "http.response.body", "body": b"ignored"})
