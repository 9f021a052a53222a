import asyncio
import contextlib
import datetime
import gzip
import http.server
import ipaddress
import socket
import ssl
import threading
import time

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from langbot.lib.http import (
    OutboundRefused,
    check_url,
    embedded_address,
    guarded_async_client,
    guarded_client,
    is_public,
    refused_at_sight,
)


class Handler(http.server.BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["host"]))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to/"))
            self.send_header("content-length", "0")
            self.end_headers()
            return
        body = b"x" * 5000
        self.send_response(200)
        if self.path == "/bomb":
            body = gzip.compress(b"0" * 1_000_000)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str]] = []


def serve(context=None):
    server = Server()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def server():
    server = serve()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def allow(settings):
    def set_allowed(*entries):
        settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": list(entries)}

    set_allowed()
    return set_allowed


def fetch(url, *, use_async, **options):
    """Get a URL with either client, follow redirects, return the response."""
    if not use_async:
        with guarded_client(timeout=5, **options) as client:
            return client.get(url, follow_redirects=True)

    async def get():
        async with guarded_async_client(timeout=5, **options) as client:
            return await client.get(url, follow_redirects=True)

    return asyncio.run(get())


both_clients = pytest.mark.parametrize("use_async", [False, True])

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "0.0.0.0"),  # noqa: S104 - called, not bound
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1"),
    *("240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%1", "fc00::1"),
    *("fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "::127.0.0.1", "64:ff9b:1::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_address_is_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_address_is_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_embedded_address_is_found():
    for outer in ("::ffff:1.2.3.4", "2002:102:304::", "64:ff9b::102:304"):
        found = embedded_address(ipaddress.ip_address(outer))
        assert found == ipaddress.ip_address("1.2.3.4")


@both_clients
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "127.1", "[::ffff:127.0.0.1]"]
)
def test_local_hosts_are_refused(server, allow, use_async, host):
    with pytest.raises(OutboundRefused) as refusal:
        fetch(f"http://{host}:{server.server_port}/", use_async=use_async)
    assert refusal.value.reason == "address"
    assert server.seen == []


@both_clients
@pytest.mark.parametrize("url", ["ftp://example.com/", "file:///etc/passwd", "//x/"])
def test_other_schemes_are_refused(allow, use_async, url):
    with pytest.raises((OutboundRefused, httpx2.UnsupportedProtocol)):
        fetch(url, use_async=use_async)
    with pytest.raises(OutboundRefused) as refusal:
        check_url(url)
    assert refusal.value.reason == "scheme"


@both_clients
@pytest.mark.parametrize("entry", ["127.0.0.0/8", "127.0.0.1", "LOCALHOST"])
def test_allowed_hosts_are_called(server, allow, use_async, entry):
    allow("10.0.0.0/8", entry)
    host = "localhost" if entry == "LOCALHOST" else "127.0.0.1"
    answer = fetch(f"http://{host}:{server.server_port}/a?b=c", use_async=use_async)
    assert answer.content == b"x" * 5000
    assert server.seen == [("/a?b=c", f"{host}:{server.server_port}")]
    check_url(f"http://{host}:{server.server_port}/")


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://127.0.0.1:9/v1", True),
        ("http://localhost:11434", True),
        ("http://[::1]/", True),
        ("http://models.localhost./", True),
        ("https://8.8.8.8/v1", False),
        ("https://a-name-that-nobody-has.test/", False),
        ("", False),
        ("no address", False),
        ("http://[", False),
    ],
)
def test_what_an_address_alone_tells(monkeypatch, url, is_refused):
    asked = []
    real = socket.getaddrinfo

    def lookup(host, *arguments, **named):
        asked.append(host)
        return real("127.0.0.1" if "localhost" in host else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert bool(refused_at_sight(url)) is is_refused
    assert "a-name-that-nobody-has.test" not in asked


@both_clients
def test_a_redirect_to_a_refused_host_is_not_followed(server, allow, use_async):
    allow("localhost")
    target = f"http://127.0.0.1:{server.server_port}/secret"
    with pytest.raises(OutboundRefused):
        fetch(f"http://localhost:{server.server_port}/to/{target}", use_async=use_async)
    assert [path for path, _ in server.seen] == [f"/to/{target}"]


def test_redirects_are_not_followed_unasked(server, allow):
    allow("127.0.0.1")
    with guarded_client(timeout=5) as client:
        answer = client.get(f"http://127.0.0.1:{server.server_port}/to/elsewhere")
    assert answer.status_code == 302


@both_clients
def test_a_second_dns_answer_is_never_used(server, allow, monkeypatch, use_async):
    allow("127.0.0.1")
    answers = ["127.0.0.1", "10.9.9.9"]
    asked = []
    original = socket.getaddrinfo

    def rebinding(host, port, *args, **kwargs):
        if host in ("rebind.test", b"rebind.test"):
            asked.append(host)
            host = answers[len(asked) - 1]
        return original(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://rebind.test:{server.server_port}/"
    assert fetch(url, use_async=use_async).status_code == 200
    assert len(asked) == 1
    assert server.seen == [("/", f"rebind.test:{server.server_port}")]
    with pytest.raises(OutboundRefused):
        fetch(url, use_async=use_async)


@both_clients
def test_large_and_compressed_answers_are_refused(server, allow, use_async):
    allow("127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(OutboundRefused) as refusal:
        fetch(url, use_async=use_async, response_limit=4999)
    assert refusal.value.reason == "response_too_large"
    assert fetch(url, use_async=use_async, response_limit=5000).status_code == 200
    with pytest.raises(OutboundRefused) as refusal:
        fetch(f"{url}/bomb", use_async=use_async)
    assert refusal.value.reason == "response_encoded"


@both_clients
def test_an_unknown_name_is_a_connect_error(allow, use_async):
    with pytest.raises(httpx2.ConnectError):
        fetch("http://does-not-exist.invalid/", use_async=use_async)
    with pytest.raises(httpx2.ConnectError):
        check_url("http://does-not-exist.invalid/")


@both_clients
def test_a_silent_server_times_out(allow, use_async):
    allow("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        async def get():
            async with guarded_async_client(timeout=0.3) as client:
                await client.get(url)

        with pytest.raises(httpx2.ReadTimeout):
            if use_async:
                asyncio.run(get())
            else:
                guarded_client(timeout=0.3).get(url)


def dripping(listener, start):
    """Answer each connection with `start`, then with a byte now and then."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, contextlib.suppress(OSError):
            peer.recv(65536)
            peer.sendall(start)
            for _ in range(100):
                time.sleep(0.05)
                peer.sendall(b"x")


@both_clients
@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nx-slow: ", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_an_answer_drop_by_drop_ends_with_the_whole_call(allow, use_async, start):
    allow("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        threading.Thread(target=dripping, args=(listener, start), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(httpx2.ReadTimeout):
            fetch(url, use_async=use_async, total_seconds=0.4)
        assert 0.3 < time.monotonic() - began < 2
        listener.shutdown(socket.SHUT_RDWR)


@both_clients
def test_proxies_of_the_environment_are_ignored(server, allow, monkeypatch, use_async):
    allow("127.0.0.1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{server.server_port}/"
    assert fetch(url, use_async=use_async).status_code == 200


def certificate_for(name, folder):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@both_clients
def test_tls_names_and_verifies_the_host(allow, tmp_path, use_async):
    allow("127.0.0.0/8")
    path = certificate_for("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = serve(context)
    trust = ssl.create_default_context(cafile=path)
    try:
        url = f"https://localhost:{server.server_port}/"
        answer = fetch(url, use_async=use_async, ssl_context=trust)
        assert answer.status_code == 200
        assert names == ["localhost"]
        with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
            fetch(
                url.replace("localhost", "127.0.0.1"),
                use_async=use_async,
                ssl_context=trust,
            )
        with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
            fetch(url, use_async=use_async)
    finally:
        server.shutdown()
        server.server_close()
