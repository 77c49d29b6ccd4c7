"""Which requests come from a web page of another site, and which host names are a server's own.

A page can make its visitor's browser send requests to servers on the visitor's machine. Browsers show this (``Origin``,
``Sec-Fetch-Site``), unless the page's own name resolves to that machine (DNS rebinding): only ``Host`` then tells. So a
server accepts its own names only, and no page of another origin. An address cannot be rebound.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from gateway.wire.hosts import Host

#: ``Sec-Fetch-Site`` if no other page is behind a request; "none": the address was typed.
_OWN_SITES = frozenset({"same-origin", "none"})


def hosts_asked(target: str, field: str | None) -> list[str]:
    """Each host that a request names: in ``Host``, and in an absolute target.

    Servers use the target (RFC 9112 3.2.2) and many programs the field: both must be right.
    """
    hosts = [] if field is None else [field]
    if not target.startswith("/") and "://" in target:
        hosts.append(re.split("[/?#]", target.partition("://")[2], maxsplit=1)[0])
    return hosts


def is_named(host: Host, names: Iterable[str]) -> bool:
    """Whether one of the names is this host; ``*.example.org`` is every name below that one."""
    return any(
        host.name.endswith(name[1:]) if name.startswith("*.") else host.name == name for name in map(str.lower, names)
    )


def foreign_page(origins: Sequence[str], sites: Sequence[str], is_own: Callable[[str], bool]) -> str | None:
    """The page of another origin that sent a request, for people; None if there is none.

    ``origins`` and ``sites``: all its fields ``Origin`` and ``Sec-Fetch-Site``; programs send neither.
    """
    for origin in origins:
        if not is_own(origin):
            return f"Pages of {origin[:100]!r}"
    return "Pages of other sites" if any(site.lower() not in _OWN_SITES for site in sites) else None


def is_address(name: str) -> bool:
    """Whether it is an address; IPv6 without brackets."""
    return _address(name) is not None


@lru_cache(maxsize=1024)
def is_loopback(name: str) -> bool:
    """Whether a name or an address, in brackets or not, is loopback."""
    address = _address(name.strip("[]"))
    if address is None:
        return name == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
