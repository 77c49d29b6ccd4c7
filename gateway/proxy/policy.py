"""Which addresses a container may have, decided by address and not by spelling.

Users register addresses. Without limits one could be the cloud's metadata service, or anything that trusts this
machine.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Self

import attrs

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Never connected to, whatever is allowed; each with a description.
NEVER: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "unspecified"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
    ("192.0.0.0/24", "reserved for protocols"),  # 192.0.0.192 is Oracle's metadata
    ("100.100.100.200/32", "a cloud's metadata service"),  # Alibaba
    ("168.63.129.16/32", "a cloud's own service"),  # Azure
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("::/128", "unspecified"),
    ("::2/127", "reserved"),
    ("::4/126", "reserved"),
    ("::8/125", "reserved"),
    ("::10/124", "reserved"),
    ("100::/64", "discarded by routers"),
    ("2001::/32", "a tunnel (Teredo)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local, which has been withdrawn"),
    ("ff00::/8", "multicast"),
    ("fd00:ec2::/32", "a cloud's metadata service"),  # Amazon: fd00:ec2::254
    ("fd20:ce::/32", "a cloud's metadata service"),  # Google: fd20:ce::254
    ("fd00:42::42/128", "a cloud's metadata service"),  # Scaleway
)
_NEVER: tuple[tuple[Network, str], ...] = tuple((ipaddress.ip_network(net), what) for net, what in NEVER)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_PATTERN = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")
_ENDS_IN_NUMBER = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)$")


class ForbiddenAddress(ValueError):
    """This gateway does not connect there; ``str()`` says why, without a full stop."""


@attrs.frozen
class AddressPolicy:
    """Allowed networks and names of containers. A name may resolve to any address but those of NEVER."""

    networks: tuple[Network, ...] = ()
    #: Lower case: ``name.example``, ``*.example`` for every name below that, ``*`` for every name.
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, allow: Iterable[str]) -> Self:
        """``ValueError`` with the entry that is neither a network nor a name, or has no effect."""
        networks: list[Network] = []
        names: list[str] = []
        for entry in allow:
            network = _network(entry)
            if network is None:
                names.append(_name(entry))
            else:
                networks.append(network)
        return cls(tuple(networks), tuple(names))

    def allows_name(self, host: str) -> bool:
        """Whether the name itself is listed."""
        host = host.lower().rstrip(".")
        return any(
            pattern == "*" or host == pattern or (pattern[0] == "*" and host.endswith(pattern[1:]))
            for pattern in self.names
        )

    def check_literal(self, host: str) -> bool:
        """Whether ``host`` is an address; ``ForbiddenAddress`` if it is a forbidden one."""
        address = literal(host)
        if address is None:
            return False
        self._check(address, named=False)
        return True

    def allowed(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The name's addresses that may be connected to; ``ForbiddenAddress`` if none may."""
        named, kept, refusal = self.allows_name(host), list[str](), None
        for text in addresses:
            try:
                self._check(ipaddress.ip_address(text), named=named)
            except ForbiddenAddress as exc:
                refusal = refusal or exc
            else:
                kept.append(text)
        if refusal is not None and not kept:
            raise ForbiddenAddress(f"the name {host} does not lead where containers may be: {refusal}") from None
        return kept

    def _check(self, address: Address, *, named: bool) -> None:
        for reading in readings(address):
            if what := never(reading):
                shown = str(address) if reading == address else f"{address} ({reading})"
                raise ForbiddenAddress(f"{shown} is {what}: a gateway never connects there")
            if not named and not any(reading in network for network in self.networks):
                raise ForbiddenAddress(f"{address} is not among the addresses that containers.allow names")


@lru_cache(maxsize=4096)
def never(address: Address) -> str | None:
    """The description of an address of NEVER; None for any other."""
    for network, what in _NEVER:
        if address in network:
            return what
    return None


def readings(address: Address) -> Iterator[Address]:
    """The address, and those that it leads to through a translator or tunnel."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    # Without its zone, which only selects an interface.
    address = ipaddress.IPv6Address(int(address))
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    is_compatible = not int(address) >> 32 and int(address) > 0xFFFF
    is_isatap = int(address) >> 32 & 0xFDFFFFFF == 0x5EFE  # RFC 5214 6.1
    if address.sixtofour is not None:
        yield address.sixtofour
    if is_compatible or is_isatap or any(address in network for network in _NAT64):
        yield last


def literal(host: str) -> Address | None:
    """The address that ``host`` is; None for a name. Whatever a C library takes for an address must be a proper one."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    bare = host.rstrip(".")
    if not _ENDS_IN_NUMBER.search(bare.lower()):
        return None
    try:
        meant = f" ({ipaddress.IPv4Address(socket.inet_aton(bare))})"
    except OSError:
        meant = ""
    raise ForbiddenAddress(f"{host}{meant} is no plain address: write four decimal numbers, or a name")


def _network(entry: str) -> Network | None:
    try:
        network = ipaddress.ip_network(entry)
    except ValueError as exc:
        if "/" in entry:
            raise ValueError(f"{entry!r}: {exc}") from None
        return None
    for forbidden, what in _NEVER:
        if network.version == forbidden.version and network.subnet_of(forbidden):  # type: ignore[arg-type]
            raise ValueError(f"{entry!r} is {what}: a gateway never connects there")
    return network


def _name(entry: str) -> str:
    name = entry.lower().rstrip(".")
    if not _PATTERN.fullmatch(name) or _ENDS_IN_NUMBER.search(name):
        raise ValueError(
            f"{entry!r} is neither a network (10.0.0.0/8, ::1) nor a name (agent.internal, *.agents.internal, *)"
        )
    return name
