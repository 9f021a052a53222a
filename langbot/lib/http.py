"""Outbound HTTP to addresses that people typed in: one guard against SSRF.

The guard sits where the connection is made. A name is resolved once, its addresses are
checked, and the socket goes to a checked address; so neither a redirect nor a second
DNS answer leads anywhere else. TLS still names and verifies the host of the URL.
Proxies of the environment are ignored, because they would connect for us.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import lru_cache
from typing import Any

import httpcore2
import httpx2

from langbot.lib.conf import conf
from langbot.lib.deadlines import BoundedStream, Deadline, bounded, current, within

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = list[tuple[Any, ...]]

RESPONSE_LIMIT = 16 * 2**20  # the largest frame, architecture.md §7
CONNECT_SECONDS = 10.0
TOTAL_FACTOR = 5  # the whole of a call to one of its reads, where nobody says
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_V4_COMPATIBLE = ipaddress.ip_network("::/96")  # RFC 4291, deprecated


class OutboundRefused(Exception):  # noqa: N818 - says what happened to the request
    """The guard did not let a request out, or its answer in.

    `reason` is `scheme`, `address`, `response_too_large` or `response_encoded`. The
    message is safe to show to whoever typed the URL.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def embedded_address(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, 6to4, Teredo or NAT64 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo and teredo[1]) or address


def is_public(address: Address) -> bool:
    """Say whether an address is one of the open internet's."""
    inner = embedded_address(address)
    if isinstance(inner, ipaddress.IPv6Address) and inner.is_site_local:
        return False
    return inner.is_global and not (inner.is_multicast or inner.is_reserved)


def _is_allowed(host: str, address: Address) -> bool:
    if is_public(address):
        return True
    name = host.lower().rstrip(".")
    for allowed in conf().outbound_allow:
        if allowed.lower().rstrip(".") == name:
            return True
        try:
            network = ipaddress.ip_network(allowed, strict=False)
        except ValueError:
            continue
        if address in network or embedded_address(address) in network:
            return True
    return False


def _checked(host: str, found: Lookup) -> list[str]:
    """Return the addresses of a host that we may connect to."""
    names = dict.fromkeys(str(entry[4][0]) for entry in found)
    allowed = [name for name in names if _is_allowed(host, ipaddress.ip_address(name))]
    if not allowed:
        message = f"{host} is not a public address and is not in the allow list"
        raise OutboundRefused("address", message)
    return allowed


def check_url(url: str) -> None:
    """Raise OutboundRefused for a URL that a guarded client would not call now.

    For forms; the clients check by themselves. Raises httpx2.ConnectError when the
    name does not resolve, and httpx2.InvalidURL.
    """
    parsed = httpx2.URL(url)
    _check_scheme(parsed)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        _checked(parsed.host, _resolve(parsed.host, port))
    except httpcore2.ConnectError as error:
        raise httpx2.ConnectError(str(error)) from error


def refused_at_sight(url: str) -> str:
    """Return why a URL would be refused, as far as no name server need be asked.

    Empty where only a call can tell. For a word of warning beside a form.
    """
    try:
        host = httpx2.URL(url).host
        name = host.lower().rstrip(".")
        if name != "localhost" and not name.endswith(".localhost"):
            ipaddress.ip_address(host)
        check_url(url)
    except OutboundRefused as error:
        return str(error)
    except (ValueError, httpx2.InvalidURL, httpx2.ConnectError):
        return ""  # a name, or nothing that could be called
    return ""


def _check_scheme(url: httpx2.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        message = "only http and https addresses can be called"
        raise OutboundRefused("scheme", message)


def _resolve(host: str, port: int) -> Lookup:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        message = f"{host} does not resolve"
        raise httpcore2.ConnectError(message) from error


class _GuardedBackend(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        error = httpcore2.ConnectError(f"{host} has no address")
        all_addresses = Deadline(timeout or CONNECT_SECONDS)
        for address in _checked(host, _resolve(host, port)):
            left = all_addresses.left(None, httpcore2.ConnectTimeout)
            left = current().left(left, httpcore2.ConnectTimeout)
            try:
                return BoundedStream(
                    super().connect_tcp(
                        address, port, left, local_address, socket_options
                    )
                )
            except httpcore2.ConnectError as failure:
                error = failure
        raise error


class _AsyncGuardedBackend(httpcore2.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        error = httpcore2.ConnectError(f"{host} has no address")
        all_addresses = Deadline(timeout or CONNECT_SECONDS)
        found = await asyncio.to_thread(_resolve, host, port)
        for address in _checked(host, found):
            left = all_addresses.left(None, httpcore2.ConnectTimeout)
            try:
                return await super().connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except httpcore2.ConnectError as failure:
                error = failure
        raise error


class _Allowance:
    """The bytes that one response may still bring."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def take(self, chunk: bytes) -> bytes:
        self.left -= len(chunk)
        if self.left < 0:
            message = f"the answer is larger than {self.limit} bytes"
            raise OutboundRefused("response_too_large", message)
        return chunk


class _LimitedStream(httpx2.SyncByteStream):
    def __init__(
        self, stream: httpx2.SyncByteStream, limit: int, deadline: Deadline
    ) -> None:
        self._stream, self._allowance = stream, _Allowance(limit)
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._stream)
        while True:
            with within(self._deadline):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield self._allowance.take(chunk)

    def close(self) -> None:
        with within(self._deadline):
            self._stream.close()


class _AsyncLimitedStream(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, limit: int, deadline: Deadline
    ) -> None:
        self._stream, self._allowance = stream, _Allowance(limit)
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while True:
            async with bounded(self._deadline):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield self._allowance.take(chunk)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _check_encoding(response: httpx2.Response) -> None:
    # A few compressed bytes unpack into any number; we asked for plain ones.
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        message = "the answer is compressed although plain bytes were asked for"
        raise OutboundRefused("response_encoded", message)


class GuardedTransport(httpx2.HTTPTransport):
    """An httpx2 transport that connects to checked addresses only."""

    def __init__(
        self, ssl_context: ssl.SSLContext, limit: int, total_seconds: float
    ) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=100,
            keepalive_expiry=5.0,
            network_backend=_GuardedBackend(),
        )
        self._limit, self._total_seconds = limit, total_seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_scheme(request.url)
        deadline = Deadline(self._total_seconds)
        with within(deadline):
            response = super().handle_request(request)
        stream = response.stream
        try:
            _check_encoding(response)
        except OutboundRefused:
            response.close()
            raise
        if isinstance(stream, httpx2.SyncByteStream):
            response.stream = _LimitedStream(stream, self._limit, deadline)
        return response


class AsyncGuardedTransport(httpx2.AsyncHTTPTransport):
    """See GuardedTransport."""

    def __init__(
        self, ssl_context: ssl.SSLContext, limit: int, total_seconds: float
    ) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=100,
            keepalive_expiry=5.0,
            network_backend=_AsyncGuardedBackend(),
        )
        self._limit, self._total_seconds = limit, total_seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_scheme(request.url)
        deadline = Deadline(self._total_seconds)
        async with bounded(deadline):
            response = await super().handle_async_request(request)
        stream = response.stream
        try:
            _check_encoding(response)
        except OutboundRefused:
            await response.aclose()
            raise
        if isinstance(stream, httpx2.AsyncByteStream):
            response.stream = _AsyncLimitedStream(stream, self._limit, deadline)
        return response


@lru_cache(maxsize=1)
def _default_context() -> ssl.SSLContext:
    # Loading the certificates takes 20 ms. SSL_CERT_FILE is honoured.
    return httpx2.create_ssl_context()


def _options(timeout: float) -> dict[str, Any]:
    connect = min(timeout, CONNECT_SECONDS)
    return {
        "timeout": httpx2.Timeout(timeout, connect=connect),
        "headers": {"accept-encoding": "identity"},
        "follow_redirects": False,
        "trust_env": False,
    }


def guarded_client(
    *,
    timeout: float,
    total_seconds: float | None = None,
    response_limit: int = RESPONSE_LIMIT,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx2.Client:
    """Return a client for URLs that people typed in.

    `timeout` in seconds bounds each read and write, `total_seconds` (five times that
    by default) a call with its answer but not each hop of a redirect, `response_limit`
    in bytes each answer. Calls raise OutboundRefused besides httpx2's errors.
    Redirects are not followed unless a call asks for it; each hop is checked.
    """
    transport = GuardedTransport(
        ssl_context or _default_context(),
        response_limit,
        total_seconds or timeout * TOTAL_FACTOR,
    )
    return httpx2.Client(transport=transport, **_options(timeout))


def guarded_async_client(
    *,
    timeout: float,
    total_seconds: float | None = None,
    response_limit: int = RESPONSE_LIMIT,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """See guarded_client."""
    transport = AsyncGuardedTransport(
        ssl_context or _default_context(),
        response_limit,
        total_seconds or timeout * TOTAL_FACTOR,
    )
    return httpx2.AsyncClient(transport=transport, **_options(timeout))
