"""A project whose two ports are upstreams that record what reaches them, and raw requests to the gateway before it."""

from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.proxy.upstream import Upstream
from tests.proxy.peers import Message, RawUpstream, ask, raw_upstream
from tests.world import Gateway

OPENCODE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: opencode\r\n\r\n"
ACP = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: acp\r\n\r\n"


@attrs.frozen
class Ports:
    """The project ``demo`` and its container's ports."""

    gateway: Gateway
    opencode: RawUpstream
    acp: RawUpstream

    async def ask(self, start: str, *headers: str, body: bytes = b"") -> Message:
        """The answer to ``start`` (method and target), sent byte for byte."""
        return await ask_raw(self.gateway, start, *headers, body=body)

    async def head(self, start: str, *headers: str, body: bytes = b"") -> Message:
        """The same without the answer's body, which may have no end."""
        return await ask_raw(self.gateway, start, *headers, body=body, bodyless=True)


async def ask_raw(gateway: Gateway, start: str, *headers: str, body: bytes = b"", bodyless: bool = False) -> Message:
    address = Upstream.parse(gateway.url)
    length = [f"Content-Length: {len(body)}"] if body else []
    host = [] if any(field.lower().startswith("host:") for field in headers) else [f"Host: {address.authority}"]
    lines = [f"{start} HTTP/1.1", *host, *headers, *length]
    raw = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body
    return await ask(address, raw, bodyless=bodyless or start.startswith("HEAD "))


@pytest.fixture
async def ports(gateway: Gateway) -> AsyncIterator[Ports]:
    async with raw_upstream(OPENCODE) as opencode, raw_upstream(ACP) as acp:
        await gateway.register(str(acp.address), containerUrl=str(opencode.address))
        yield Ports(gateway, opencode, acp)
