"""Where requests go, how long they may take, and the one client that sends them.

``Client.open`` is the only door to a container, for forwarded requests and for our own calls alike; what can go wrong
behind it is one of ``UpstreamUnreachable`` (502), ``UpstreamRefused`` (503) and ``UpstreamTimeout`` (504).
"""

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Self

import aiohttp
import attrs
from aiohttp.client_middlewares import ClientHandlerType
from multidict import CIMultiDict
from yarl import URL

from gateway.errors import (
    BadRequest,
    RequestStalled,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)

MAX_LINE = MAX_FIELD = 65536
MAX_HEADERS = 1000

DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[(?P<v6>[^]]+)\]|(?P<name>[A-Za-z0-9_]([\w.-]*[A-Za-z0-9_.])?))(:(?P<port>.*))?", re.ASCII)
_PATH = re.compile(r"(/[\w.~!$&'()*+,;=:@%/-]*)?", re.ASCII)  # RFC 3986 3.3
_DOT_SEGMENT = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)

# RFC 9110 9.2.1. aiohttp sends any idempotent request a second time when a reused connection drops before the answer;
# only these may have reached the container twice without harm.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@attrs.frozen(kw_only=True)
class Upstream:
    """A base URL that requests are sent below."""

    scheme: str  # "http" or "https"
    host: str  # a name, an IPv4 address, or an IPv6 address without brackets
    port: int
    prefix: str = ""  # a path without a slash at its end, percent-encoded as it was given

    @classmethod
    @lru_cache(maxsize=4096)  # an address is parsed for every request to it
    def parse(cls, text: str) -> Self:
        """``http://host``, ``https://[::1]:4096/base``; ``ValueError`` with a sentence that says what is wrong."""
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("the address must be plain ASCII without spaces")
        scheme, colon, rest = text.partition("://")
        scheme = scheme.lower()
        if not colon or scheme not in DEFAULT_PORTS:
            raise ValueError("the address must begin with http:// or https://")
        if "?" in rest or "#" in rest:
            raise ValueError("the address must not contain a query or a fragment")
        authority, slash, path = rest.partition("/")
        if "@" in authority:
            raise ValueError("the address must not contain a user name or password")
        if not _PATH.fullmatch(slash + path) or _DOT_SEGMENT.search(slash + path):
            raise ValueError("the address's path must be percent-encoded and must not contain '.' or '..' segments")
        host, port = _split_authority(authority, DEFAULT_PORTS[scheme])
        return cls(scheme=scheme, host=host, port=port, prefix=(slash + path).rstrip("/"))

    def with_port(self, port: int) -> Self:
        """The same address on another port."""
        return attrs.evolve(self, port=port)

    @property
    def authority(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    def url_for(self, target: str) -> URL:
        """The URL of ``target``, a raw path and query, which reaches the wire byte for byte.

        ``BadRequest`` where the target would climb out of this address's own path prefix.
        """
        if not target.startswith("/"):
            if target and not target.startswith("?"):
                raise ValueError(f"a target begins with a slash: {target!r}")
            target = target if self.prefix else f"/{target}"
        if self.prefix and _DOT_SEGMENT.search(target.partition("?")[0]):
            raise BadRequest("The path contains '.' or '..' segments.")
        # The whole target goes in as the path: yarl would drop an empty query (`/x?`) and normalise what it splits.
        return URL.build(scheme=self.scheme, authority=self.authority, path=self.prefix + target, encoded=True)


def _split_authority(text: str, default_port: int) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    if found is None or (found["v6"] and not _is_ipv6(found["v6"])):
        raise ValueError("the address must name a host, such as http://127.0.0.1:4096 or http://[::1]:4096")
    host = (found["v6"] or found["name"]).lower()
    if found["port"] is None:
        return host, default_port
    if not found["port"].isdigit() or not 0 < int(found["port"]) < 65536:
        raise ValueError("the address's port must be a number from 1 to 65535")
    return host, int(found["port"])


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds. There is no limit on the whole."""

    connect: float
    """Until there is a connection: name lookup, TCP and TLS."""
    headers: float | None
    """From the end of the request (for one without a body: from its start, connecting included) to the answer's
    headers. None: for as long as it takes."""
    idle: float | None
    """Without a byte moving, in a request body or in an answer. None: for ever."""


class Client:
    """The gateway's connections to its containers; use as an async context manager, within the loop that uses it."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        """``tls`` replaces the system's trust store for https upstreams."""
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=self._tls or True,
                # Node closes idle connections after 5 s: let go first, or a request meets a connection going away.
                keepalive_timeout=4,
                socket_factory=_open_socket,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
            middlewares=(_send_once,),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        upstream: Upstream,
        target: str,
        *,
        headers: Mapping[str, str] | CIMultiDict[str] | None = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        timeouts: Timeouts,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; gives the answer as soon as its headers are here, its body unread and undecoded.

        Leaving the context early closes the connection, which is how a request is given up. Redirects are answers like
        any other. Reading the body inside the context fails with the same errors: broken off is
        ``UpstreamUnreachable``, silent for longer than ``timeouts.idle`` is ``UpstreamTimeout``. A body without
        ``Content-Length`` and chunking ends where the connection ends: that it was cut short cannot be seen.
        ``RequestStalled`` (408) when ``body`` gives nothing for ``timeouts.idle``; an error of ``body`` comes as it is.
        """
        response = await self._send(method, upstream.url_for(target), headers, body, timeouts, upstream)
        try:
            limit_silence(response, timeouts.idle)
            yield response
        except aiohttp.ClientError as exc:
            raise _as_upstream_error(exc, upstream) from exc
        finally:
            response.close()

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None,
        body: bytes | AsyncIterable[bytes] | None,
        timeouts: Timeouts,
        upstream: Upstream,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "the client is used outside its context"
        upload: _Upload | None = None
        try:
            async with asyncio.timeout(timeouts.headers) as deadline:
                if isinstance(body, AsyncIterable):
                    body = upload = _Upload(body, deadline, timeouts)
                return await self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    timeout=_until_connected(timeouts.connect),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            if upload is not None and upload.waiting and deadline.expired():
                raise RequestStalled from exc
            raise _as_upstream_error(exc, upstream) from exc
        finally:
            if upload is not None:
                upload.deadline = None


def limit_silence(response: aiohttp.ClientResponse, seconds: float | None) -> None:
    """From now on reading fails once the upstream has been silent for ``seconds``; a slow reader is no silence."""
    connection = response.connection
    if connection is None or connection.protocol is None or connection.transport is None:
        return  # the whole answer is here already
    connection.protocol.read_timeout = seconds
    if seconds is None or connection.transport.is_reading():
        connection.protocol.start_timeout()


class _Upload:
    """A request body on its way up: the deadline moves on while the bytes do."""

    def __init__(self, source: AsyncIterable[bytes], deadline: asyncio.Timeout, timeouts: Timeouts) -> None:
        self._source = aiter(source)
        self._timeouts = timeouts
        self.deadline: asyncio.Timeout | None = deadline  # None once there is an answer
        self.waiting = False  # for the source, rather than for the upstream
        self.failure: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._allow(self._timeouts.idle)
        self.waiting = True
        try:
            chunk = await anext(self._source)
        except StopAsyncIteration:
            self._allow(self._timeouts.headers)
            raise
        except Exception as exc:
            self.failure = exc
            raise
        finally:
            self.waiting = False
        self._allow(self._timeouts.idle)
        return chunk

    def _allow(self, seconds: float | None) -> None:
        if self.deadline is not None and not self.deadline.expired():
            now = asyncio.get_running_loop().time()
            self.deadline.reschedule(None if seconds is None else now + seconds)


@lru_cache(maxsize=16)
def _until_connected(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)


class _NotReplayed(aiohttp.ClientError):
    """The connection dropped while a request was on it that may have had an effect."""


async def _send_once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        # aiohttp replays on these two errors and on no other.
        if request.method in SAFE_METHODS:
            raise
        raise _NotReplayed from exc


def _open_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices a container which has vanished without a word, and one that takes nothing for minutes."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 120_000),
    ):
        if hasattr(socket, option):  # each exists on some systems only
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


def _as_upstream_error(exc: Exception, upstream: Upstream) -> UpstreamError:
    error = _told(exc, upstream)
    error.unsent = isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return error


def _told(exc: Exception, upstream: Upstream) -> UpstreamError:
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamTimeout(f"{upstream} did not accept a connection in time.")
        case TimeoutError():
            return UpstreamTimeout(f"{upstream} did not answer in time.")
        case aiohttp.ClientConnectorDNSError():
            return UpstreamUnreachable(f"The name {upstream.host} cannot be resolved.")
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return UpstreamUnreachable(f"The TLS handshake with {upstream} failed.")
        case aiohttp.ClientConnectorError() if exc.os_error.errno == errno.ECONNREFUSED:
            return UpstreamRefused(f"{upstream} refused the connection.")
        case aiohttp.ClientConnectorError():
            return UpstreamUnreachable(f"{upstream} cannot be reached: {exc.os_error.strerror or exc.os_error}.")
        case aiohttp.ClientResponseError():
            return UpstreamUnreachable(f"{upstream} answered with something that is not HTTP.")
        case _:
            return UpstreamUnreachable(f"{upstream} dropped the connection before its answer was complete.")
