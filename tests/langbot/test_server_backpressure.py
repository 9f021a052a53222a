"""`langbot.server` with real sockets: buffers stay bounded, nothing is lost."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
GROWTH_LIMIT = 50 * MIB


class RunningServer:
    def __init__(self, process):
        self.process = process
        line = process.stderr.readline().decode()
        assert "Listening on" in line, line
        self.port = int(line.rsplit(":", 1)[1])
        self.memory = psutil.Process(process.pid)

    def rss(self):
        return self.memory.memory_info().rss

    def websocket(self, path, **options):
        options = {"max_size": 32 * MIB, "open_timeout": 10, **options}
        return connect(f"ws://127.0.0.1:{self.port}/{path}", **options)

    def get(self, path, **options):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/{path}", **options)
        return connection.getresponse()

    def raw_get(self, path):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(f"GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return client


COMMAND = [sys.executable, "-m", "langbot.server"]
COMMAND += ["--application", "tests.langbot.asgi_apps:application"]


@contextlib.contextmanager
def started(command, **options):
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, **options
    ) as process:
        try:
            yield RunningServer(process)
        finally:
            process.kill()


@pytest.fixture
def server():
    with started([*COMMAND, "--port", "0"]) as server:
        yield server


def raw_websocket(server, path):
    """A socket after the handshake, to write frames without any flow control."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    client.sendall(
        f"GET /{path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    assert b"101 Switching Protocols" in answer
    return client


def frame(payload, opcode=2):
    """A masked frame; the mask is zero, so the payload goes as it is."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def close_code(failure):
    assert failure.value.rcvd is not None, "closed without a close frame"
    return failure.value.rcvd.code


def push(client, data, *, total, seconds):
    """Write `data` again and again; returns the bytes that the server accepted."""
    client.settimeout(2)
    sent, deadline = 0, time.monotonic() + seconds
    view = memoryview(data)
    while sent < total and time.monotonic() < deadline:
        try:
            sent += client.send(view[sent % len(data) :])
        except TimeoutError:
            break
    return sent


@pytest.mark.parametrize("size", [1, 200, 64 * 1024, MIB])
def test_a_socket_that_is_never_read_blocks_its_sender(server, size):
    client = raw_websocket(server, "never-reads")
    before = server.rss()
    block = frame(b"x" * size)
    block *= max(1, 64 * 1024 // len(block))
    sent = push(client, block, total=400 * MIB, seconds=20)
    assert sent < 40 * MIB, "the sender was not stopped"
    assert server.rss() - before < GROWTH_LIMIT
    assert server.get("quick").read() == b"quick"


@pytest.mark.slow
def test_a_stalled_read_is_reported_and_then_goes_on(server):
    with server.websocket("reports-stall") as client:
        started = time.monotonic()
        sender = threading.Thread(
            target=lambda: [client.send(b"x" * 65536) for _ in range(200)]
        )
        sender.start()
        first = json.loads(client.recv(timeout=20))
        assert 9 < time.monotonic() - started < 13
        second = json.loads(client.recv(timeout=5))
        assert first["type"] == second["type"] == "langbot.read_stalled"
        assert 4 * MIB < first["unread_bytes"] < 5 * MIB
        assert client.recv(timeout=10) == "drained"
        sender.join(10)
        assert not sender.is_alive()


@pytest.mark.parametrize("path", ["stream", "flood"])
def test_a_client_that_stops_reading_bounds_what_is_written(server, path):
    client = server.raw_get(path) if path == "stream" else raw_websocket(server, path)
    client.recv(4096)
    before = server.rss()
    for _ in range(6):
        time.sleep(0.5)
        assert server.rss() - before < GROWTH_LIMIT
    # The rest flows as soon as the client reads again.
    received, deadline = 0, time.monotonic() + 20
    while received < 64 * MIB and time.monotonic() < deadline:
        received += len(client.recv(MIB))
    assert received >= 64 * MIB
    assert server.rss() - before < GROWTH_LIMIT
    client.close()
    assert server.get("quick").read() == b"quick"


def test_many_senders_wait_their_turn_in_order(server):
    with server.websocket("many-senders", max_queue=1) as client:
        time.sleep(1)  # what does not fit into the kernel waits in the tasks
        numbers = [int.from_bytes(message[:4]) for message in client]
        assert client.protocol.close_code == 1000
    assert numbers == list(range(1000))


def test_the_largest_message_passes_and_a_larger_one_is_refused(server):
    with server.websocket("echo") as client:
        for payload in (b"x" * 16 * MIB, "y" * 16 * MIB):
            client.send(payload)
            assert client.recv(timeout=20) == payload
    for payload in (b"x" * 17 * MIB, "y" * 17 * MIB):
        with server.websocket("echo") as client:
            with contextlib.suppress(ConnectionClosed):
                client.send(payload)
            with pytest.raises(ConnectionClosed) as refusal:
                client.recv(timeout=20)
            assert close_code(refusal) == 1009


def test_text_that_is_not_utf8_is_refused(server):
    client = raw_websocket(server, "echo")
    client.sendall(frame(b"\xc3\x28", opcode=1))
    assert struct.unpack("!H", client.recv(100)[2:4]) == (1007,)


def test_garbage_instead_of_frames_closes_only_that_socket(server):
    client = raw_websocket(server, "echo")
    with contextlib.suppress(ConnectionError):
        push(client, os.urandom(64 * 1024), total=20 * MIB, seconds=5)
        while client.recv(65536):
            pass
    with server.websocket("echo") as other:
        other.send("still here")
        assert other.recv(timeout=5) == "still here"


def masked_frame(payload, first, *, mask):
    size = len(payload)
    head = struct.pack("!BB", first, 0x80 | (size if size < 126 else 126))
    head += struct.pack("!H", size) if size >= 126 else b""
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + body


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 100_000])
def test_frames_are_understood_however_they_are_cut(server, step):
    """Short and fragmented messages and pings, in pieces of `step` bytes."""
    stream, expected = b"", []
    for size in (1, 5, 125, 126, 127, 300, 3, 2000):
        payload = os.urandom(size)
        mask = os.urandom(4)
        expected += [payload, payload + b"rest", payload.hex().encode()]
        stream += masked_frame(payload, 0x82, mask=mask)
        stream += masked_frame(payload, 0x02, mask=mask)
        stream += masked_frame(b"ping", 0x89, mask=mask)
        stream += masked_frame(b"rest", 0x80, mask=mask)
        stream += masked_frame(payload.hex().encode(), 0x81, mask=mask)
    client = raw_websocket(server, "echo")
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for position in range(0, len(stream), step):
        client.sendall(stream[position : position + step])
    seen: list[bytes] = []
    pongs, reader = 0, client.makefile("rb")
    while len(seen) < len(expected):
        first, size = reader.read(2)
        size = struct.unpack("!H", reader.read(2))[0] if size == 126 else size
        payload = reader.read(size)
        if first == 0x8A:
            pongs += 1
            assert payload == b"ping"
        else:
            seen.append(payload)
    assert seen == expected
    assert pongs == 8


@pytest.mark.parametrize(
    "broken",
    [
        b"\x82\x05hello",  # not masked
        b"\x82\xfe\x00\x05" + bytes(4) + b"hello",  # a short length written long
        b"\xc2\x85" + bytes(4) + b"hello",  # compressed, which was not agreed
        b"\x80\x85" + bytes(4) + b"hello",  # the rest of nothing
        b"\x83\x85" + bytes(4) + b"hello",  # a reserved kind
    ],
)
def test_a_broken_frame_is_a_protocol_error(server, broken):
    client = raw_websocket(server, "echo")
    client.sendall(frame(b"fine") + broken)
    answer = client.recv(1000)
    if answer[0] == 0x82:  # the echo of what came before
        answer = answer[6:] or client.recv(1000)
    assert answer[0] == 0x88
    assert struct.unpack("!H", answer[2:4]) == (1002,)


def test_compression_is_not_negotiated(server):
    with server.websocket("echo", compression="deflate") as client:
        assert client.protocol.extensions == []


def test_pauses_lose_nothing_and_keep_the_order(server):
    checksum = hashlib.sha256()
    with server.websocket("digest") as client:
        for number in range(3000):
            payload = number.to_bytes(4) + os.urandom(number * 11)
            checksum.update(payload)
            client.send(payload)
        client.send("end")
        count, seen, was_paused = json.loads(client.recv(timeout=30))
    assert (count, seen) == (3000, checksum.hexdigest())
    assert was_paused


def test_echo_keeps_order_under_load(server):
    with server.websocket("echo") as client:
        received: list[str | bytes] = []
        reader = threading.Thread(
            target=lambda: received.extend(client.recv() for _ in range(20_000))
        )
        reader.start()
        for number in range(20_000):
            client.send(f"message {number}")
        reader.join(30)
    assert received == [f"message {number}" for number in range(20_000)]


def test_an_application_that_fails_closes_its_socket(server):
    with server.websocket("fails") as client:
        with pytest.raises(ConnectionClosed) as failure:
            client.recv(timeout=5)
        assert close_code(failure) == 1011


def test_a_large_body_comes_in_pieces(server):
    body = os.urandom(20 * MIB)
    before = server.rss()
    size, largest, checksum = json.loads(server.get("digest", body=body).read())
    assert (size, checksum) == (len(body), hashlib.sha256(body).hexdigest())
    assert largest <= 64 * 1024
    assert server.get("ignores-body", body=body).read() == b"ignored"
    assert server.rss() - before < 10 * MIB


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072])
def test_a_body_of_any_size_is_whole(server, size):
    body = os.urandom(size)
    answer = json.loads(server.get("digest", body=body).read())
    assert answer[0] == size
    assert answer[2] == hashlib.sha256(body).hexdigest()


def test_a_declared_body_over_the_limit_is_refused(server):
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    client.sendall(b"POST /digest HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000000")
    client.sendall(b"\r\n\r\nsome of it")
    assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert client.recv(4096) == b""


def test_sigterm_drains(server):
    answers = []
    slow = threading.Thread(target=lambda: answers.append(server.get("slow").read()))
    slow.start()
    stream = server.raw_get("waits")
    idle = server.websocket("echo")
    time.sleep(0.5)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionClosed) as closed:
        idle.recv(timeout=5)
    assert close_code(closed) == 1001
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    slow.join(10)
    assert answers == [b"done " * 400_000], "a request in flight was cut"
    received = b""
    while chunk := stream.recv(4096):
        received += chunk
    assert received.endswith(b"0\r\n\r\n"), "the stream did not end properly"
    assert server.process.wait(5) == 0
    assert time.monotonic() - started < 4
    assert server.process.stderr.read() == b""


@pytest.mark.slow
def test_sigterm_does_not_wait_for_ever(server):
    blocked = raw_websocket(server, "never-reads")
    push(blocked, frame(b"x" * MIB), total=100 * MIB, seconds=5)
    stalled = server.raw_get("stream")
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    assert 4 < time.monotonic() - started < 14
    stalled.close()
    blocked.close()


def test_a_second_signal_stops_at_once(server):
    blocked = raw_websocket(server, "never-reads")
    push(blocked, frame(b"x" * MIB), total=100 * MIB, seconds=5)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(5) == 0
    assert time.monotonic() - started < 3


def test_a_taken_port_is_an_error(server):
    command = [*COMMAND, "--port", str(server.port)]
    second = subprocess.run(
        command, cwd=ROOT, capture_output=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert b"Listen failure" in second.stderr


def test_an_inherited_socket_is_served():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        with started([*COMMAND, "--fd", str(number)], pass_fds=[number]) as server:
            assert server.port == listener.getsockname()[1]
            assert server.get("quick").read() == b"quick"
