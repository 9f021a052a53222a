"""The server leaves forms to Django: it neither keeps nor judges what is in them."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.web.test.requesthelper import DummyChannel

from langbot.connections import Request


def received(body, boundary=b"x"):
    """Return a request with this form, as the channel hands it over."""
    channel: Any = DummyChannel()
    channel.factory = SimpleNamespace(
        server=SimpleNamespace(protocol_connected=lambda _request: None)
    )
    channel.getPeer = lambda: IPv4Address("TCP", "127.0.0.1", 1)
    seen: list[bytes] = []

    class Seen(Request):
        def process(self):
            seen.append(self.content.read())

    request = Seen(channel, queued=False)
    form = b"multipart/form-data; boundary=" + boundary
    request.requestHeaders.addRawHeader(b"Content-Type", form)
    request.requestHeaders.addRawHeader(b"Content-Length", b"%d" % len(body))
    request.gotLength(len(body))
    request.handleContentChunk(body)
    request.requestReceived(b"POST", b"/api/v1/artifacts/", b"HTTP/1.1")
    return request, seen


def test_a_broken_form_reaches_django():
    _request, seen = received(b"--x--\r\n")
    assert seen == [b"--x--\r\n"]


def test_a_form_is_not_read_into_memory():
    head = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    body = head + bytes(8 * 1024 * 1024) + b"\r\n--x--\r\n"
    request, seen = received(body)
    assert len(seen[0]) == len(body)
    assert request.args == {}


def test_the_memory_is_what_the_body_is():
    body = b"--x\r\n\r\n" + bytes(8 * 1024 * 1024) + b"\r\n--x--\r\n"
    tracemalloc.start()
    try:
        received(body)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body)
