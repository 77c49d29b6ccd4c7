"""Host names in HTTP: one strict parser for ``Host`` and ``Origin``.

Programs differ in how they read ``a/b``, ``a@b`` or ``a b`` as a name, and such differences can be exploited. So
anything but a plain name or address with an optional port is refused.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final

import attrs

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: The longest domain name, and a port.
MAX_FIELD: Final = 253 + 6
_FIELD = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABELS = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
#: https://url.spec.whatwg.org/#ends-in-a-number-checker: browsers take such a name for an IPv4 address.
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")


@attrs.frozen
class Host:
    """A host, and the port if it is given."""

    name: str
    """A name in lower case, an IPv4 address, or an IPv6 address without brackets."""
    port: int | None = None

    def port_for(self, scheme: str) -> int | None:
        """The port with this scheme."""
        return DEFAULT_PORTS.get(scheme) if self.port is None else self.port

    def is_same(self, other: "Host", scheme: str) -> bool:
        """Whether both are equal with this scheme: ``https`` implies port 443."""
        return self.name == other.name and self.port_for(scheme) == other.port_for(scheme)

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@attrs.frozen
class Origin:
    """The origin of a web page, https://html.spec.whatwg.org/multipage/browsers.html#concept-origin-tuple."""

    scheme: str
    host: Host


def parse_host(field: str) -> Host | None:
    """A ``Host`` field, or the authority of a URL without user information; None if it is neither."""
    return _parse_host(field) if len(field) <= MAX_FIELD else None


def parse_origin(field: str) -> Origin | None:
    """The ``Origin`` of a page that was loaded over HTTP; None for any other, including ``null``."""
    scheme, _, rest = field.partition("://")
    host = parse_host(rest) if scheme in DEFAULT_PORTS else None
    return None if host is None else Origin(scheme, host)


@lru_cache(maxsize=1024)
def _parse_host(field: str) -> Host | None:
    found = _FIELD.fullmatch(field)
    if found is None:
        return None
    name = _ipv6(found["v6"]) if found["v6"] is not None else _name(found["name"].lower())
    port = int(found["port"]) if found["port"] else None
    return None if name is None or (port or 0) > 65535 else Host(name, port)


def _ipv6(text: str) -> str | None:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _name(text: str) -> str | None:
    if _ENDS_IN_NUMBER.search(text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            return None
    return text if _LABELS.fullmatch(text) else None
