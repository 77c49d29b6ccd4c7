"""Where requests go, and how long they may take."""

import re
import socket
from functools import lru_cache
from typing import Self

import attrs

from gateway.errors import BadRequest

DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[(?P<v6>[^]]+)\]|(?P<name>[A-Za-z0-9_]([\w.-]*[A-Za-z0-9_.])?))(:(?P<port>.*))?", re.ASCII)
_PATH = re.compile(r"(/[\w.~!$&'()*+,;=:@%/-]*)?", re.ASCII)  # RFC 3986 3.3
_DOT_SEGMENT = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)


@attrs.frozen(kw_only=True, cache_hash=True)
class Upstream:
    """The base URL of requests."""

    scheme: str  # "http" or "https"
    host: str  # a name, an IPv4 address, or an IPv6 address without brackets
    port: int
    prefix: str = ""  # a path without a slash at its end, percent-encoded as it was given

    @classmethod
    @lru_cache(maxsize=4096)  # an address is parsed for every request to it
    def parse(cls, text: str) -> Self:
        """``http://host``, ``https://[::1]:4096/base``; ``ValueError`` with a sentence about the mistake."""
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

    def path_for(self, target: str) -> str:
        """The path to request for ``target``, a raw path and query, which is kept byte for byte.

        ``BadRequest`` if the target would leave this address's path prefix.
        """
        if not target.startswith("/"):
            if target and not target.startswith("?"):
                raise ValueError(f"a target begins with a slash: {target!r}")
            target = target if self.prefix else f"/{target}"
        if self.prefix and _DOT_SEGMENT.search(target.partition("?")[0]):
            raise BadRequest("The path contains '.' or '..' segments.")
        return self.prefix + target


def _split_authority(text: str, default_port: int) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    if found is None or (not _is_ipv6(found["v6"]) if found["v6"] else not _is_name(found["name"])):
        raise ValueError("the address must name a host, such as http://127.0.0.1:4096 or http://[::1]:4096")
    host = (found["v6"] or found["name"]).lower()
    if found["port"] is None:
        return host, default_port
    if not found["port"].isdigit() or not 0 < int(found["port"]) < 65536:
        raise ValueError("the address's port must be a number from 1 to 65535")
    return host, int(found["port"])


def _is_name(text: str) -> bool:
    """Whether DNS allows it (RFC 1035 2.3.4); resolvers fail differently on others."""
    return len(text) <= 253 and all(1 <= len(label) <= 63 for label in text.removesuffix(".").split("."))


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True


@attrs.frozen(kw_only=True)
class Timeouts:
    """Time limits of the parts of an exchange, in seconds. The whole has none."""

    connect: float
    """Until there is a connection: name lookup, TCP and TLS."""
    headers: float | None
    """From the end of the request (for one without a body: from its start, connecting included) to the answer's
    headers. None: for as long as it takes."""
    idle: float | None
    """Without a byte moving, in a request body or in an answer. None: for ever."""
