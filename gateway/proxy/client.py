"""The only client that sends requests to containers.

``Client.open`` serves forwarded requests and our own calls alike. It fails with ``UpstreamUnreachable`` (502),
``UpstreamForbidden`` (502), ``UpstreamRefused`` (503) or ``UpstreamTimeout`` (504).

Connections come from aiohttp's ``TCPConnector``; what its ``ClientSession`` adds (cookies, redirects, proxies, tracing,
URLs) is not for a proxy, and was half the cost of a small request.
"""

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterable, Mapping
from functools import lru_cache, partial
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.errors import UpstreamForbidden
from gateway.proxy.exchange import Exchange
from gateway.proxy.heads import ContainerConnection
from gateway.proxy.limits import Limits
from gateway.proxy.observer import Observer
from gateway.proxy.policy import AddressPolicy, ForbiddenAddress, never
from gateway.proxy.resolver import Guard, Lookup, PolicyResolver, system_lookup
from gateway.proxy.upstream import Timeouts, Upstream

#: Time to resolve the name of an address that is being registered.
_CHECK_SECONDS = 2.0


class Client:
    """The gateway's connections to containers: an async context manager, for one event loop."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = system_lookup,
        guard: Guard | None = None,
        observer: Observer | None = None,
        via: str = "",
    ) -> None:
        """``tls`` replaces the system's trust store for https upstreams, ``lookup`` the name resolution.

        ``guard`` decides last where a name may lead; ``via`` is this proxy's name in each request.
        """
        self._policy = policy
        self._lookup = lookup
        self._resolver = PolicyResolver(policy, lookup, guard)
        self._tls = tls
        self._observer = observer
        self._via = via
        self._connector: aiohttp.TCPConnector | None = None
        self._limits = Limits()
        #: A connector needs a request to know where to connect to; this one is never sent.
        self._door = lru_cache(maxsize=4096)(self._checked_door)

    async def __aenter__(self) -> Self:
        self._connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls or True,
            # Node closes idle connections after 5 s: close earlier, or a request meets a closing connection.
            keepalive_timeout=4,
            resolver=self._resolver,
            socket_factory=_open_socket,
        )
        # aiohttp has no option for it.
        factory = partial(ContainerConnection, loop=asyncio.get_running_loop())
        self._connector._factory = factory  # type: ignore[assignment]  # partial is invariant
        return self

    async def __aexit__(self, *_: object) -> None:
        self._limits.close()
        if self._connector is not None:
            await self._connector.close()

    def allow(self, policy: AddressPolicy) -> None:
        """From now on connect only where this allows it. Open connections stay."""
        self._policy = self._resolver.policy = policy
        self._door.cache_clear()
        if self._connector is not None:
            self._connector.clear_dns_cache()

    def open(
        self,
        method: str,
        upstream: Upstream,
        target: str,
        *,
        headers: Mapping[str, str] | CIMultiDict[str] | None = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        timeouts: Timeouts,
    ) -> Exchange:
        """Send a request; ``async with`` gives the answer when its headers have arrived, unread and undecoded.

        Leaving the context early closes the connection and so cancels the request. Redirects are not followed. Reading
        the body inside the context fails with the same errors: ``UpstreamUnreachable`` if it breaks off,
        ``UpstreamTimeout`` if it is silent for longer than ``timeouts.idle``. A body without ``Content-Length`` and
        chunking ends with the connection: truncation cannot be seen. ``UpstreamForbidden`` if the policy does not allow
        the address: nothing is sent then. ``RequestStalled`` (408) if ``body`` yields nothing for ``timeouts.idle``;
        its own errors pass through.
        """
        assert self._connector is not None, "the client is used outside its context"
        return Exchange(
            self._connector,
            self._limits,
            upstream=upstream,
            door=self._door(upstream),
            method=method,
            path=upstream.path_for(target),
            headers=headers,
            body=body,
            timeouts=timeouts,
            observer=self._observer,
            via=self._via,
        )

    async def check(self, upstream: Upstream) -> None:
        """``ForbiddenAddress`` if it must not be connected to, as far as known now.

        A name that does not resolve yet passes: each connection checks again.
        """
        if self._policy.check_literal(upstream.host) or self._policy.allows_name(upstream.host):
            return
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                found = await self._lookup(upstream.host)
        except OSError:  # of which TimeoutError is one
            return
        self._policy.allowed(upstream.host, [address for _, address in found])

    def _checked_door(self, upstream: Upstream) -> aiohttp.ClientRequest:
        try:
            # Literal addresses skip the resolver, and so its check.
            self._policy.check_literal(upstream.host)
        except ForbiddenAddress as exc:
            raise UpstreamForbidden(f"The gateway does not connect there: {exc}.") from exc
        return _door(upstream)


def _door(upstream: Upstream) -> aiohttp.ClientRequest:
    url = URL.build(scheme=upstream.scheme, authority=upstream.authority)
    return aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop())


def _open_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices a vanished container, and one that reads nothing for minutes."""
    family, kind, protocol, _, where = address
    # However it got here.
    if never(ipaddress.ip_address(where[0].partition("%")[0])):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
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
