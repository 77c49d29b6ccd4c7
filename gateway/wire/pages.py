"""Which requests a web page of another site is behind, and which names are a server's own.

A page can have its visitor's browser send requests to servers of the visitor's own machine. Browsers say so
(``Origin``, ``Sec-Fetch-Site``), but for a page whose own name was made to resolve to that machine: to a browser it is
then the server's own page, and only the name in ``Host`` tells. So a server answers by its own names alone (DNS
rebinding), and no page of another origin. An address cannot be rebound.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from gateway.wire.hosts import Host

#: What ``Sec-Fetch-Site`` says where no other page is behind a request; "none": whoever typed the address.
_OWN_SITES = frozenset({"same-origin", "none"})


def hosts_asked(target: str, field: str | None) -> list[str]:
    """All that a request says of the host that it is for: its ``Host`` field, and a target with a host in it.

    The latter is what counts to a server (RFC 9112 3.2.2), and the former what many read: both must be right.
    """
    hosts = [] if field is None else [field]
    if not target.startswith("/") and "://" in target:
        hosts.append(re.split("[/?#]", target.partition("://")[2], maxsplit=1)[0])
    return hosts


def is_named(host: Host, names: Iterable[str]) -> bool:
    """Whether one of the names is this host's; ``*.example.org`` is every name below that one."""
    return any(
        host.name.endswith(name[1:]) if name.startswith("*.") else host.name == name for name in map(str.lower, names)
    )


def foreign_page(origins: Sequence[str], sites: Sequence[str], is_own: Callable[[str], bool]) -> str | None:
    """Which page of another origin a request comes from, for people; None where it comes from none.

    ``origins`` and ``sites``: all its fields ``Origin`` and ``Sec-Fetch-Site``; programs send neither.
    """
    for origin in origins:
        if not is_own(origin):
            return f"Pages of {origin[:100]!r}"
    return "Pages of other sites" if any(site.lower() not in _OWN_SITES for site in sites) else None


def is_address(name: str) -> bool:
    """Whether it is an address and no name; IPv6 without brackets."""
    return _address(name) is not None


@lru_cache(maxsize=1024)
def is_loopback(name: str) -> bool:
    """Whether a name or an address, in brackets or not, is this machine's own."""
    address = _address(name.strip("[]"))
    if address is None:
        return name == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
