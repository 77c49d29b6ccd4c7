"""Whose container is where: the addresses of projects, resolved.

Spellings of an address differ, so what counts is the IP address and port that it leads to, not name, scheme or path. A
project has two addresses, OpenCode's and ACP's; neither may belong to another owner's project. A name may lead
elsewhere later, so it is checked again at each connection (``guard``).
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final

import attrs

from gateway.config.schema import ContainersConfig
from gateway.db.pool import Database, Transaction
from gateway.errors import AddressTaken, ConfigError, GatewayError
from gateway.proxy.policy import Address, AddressPolicy, literal, readings
from gateway.proxy.resolver import Lookup, system_lookup
from gateway.proxy.upstream import Upstream
from gateway.wire.bounded import Bounded

logger = logging.getLogger(__name__)

#: The time limit of a look-up; a slower name counts by its name until it is connected to.
LOOKUP_SECONDS: Final = 2.0
#: How many conflicting names are looked up again.
MAX_IN_THE_WAY: Final = 20
MAX_REMEMBERED: Final = 10_000
#: A server on all of a machine's addresses is reached by each, so they count as one.
LOOPBACK: Final = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Location:
    """A host and port, and the host's addresses as of ``meanings``."""

    host: str
    port: int
    addresses: frozenset[str]


class Addresses:
    """The addresses of all projects. ``shared``: owners may share a container."""

    def __init__(self, database: Database, *, shared: bool = False, lookup: Lookup = system_lookup) -> None:
        self._database = database
        self._shared = shared
        self._lookup = lookup
        #: (host, port) → what was last allowed, for the time when the database is away; oldest first.
        self._allowed: Bounded[tuple[str, int], frozenset[str]] = Bounded(MAX_REMEMBERED)

    async def locate(self, upstreams: Iterable[Upstream]) -> list[Location]:
        """Where these lead now; before a transaction that claims them. Raises ``ForbiddenAddress``."""
        wanted = list(upstreams)
        hosts = sorted({upstream.host for upstream in wanted})
        found = dict(zip(hosts, await asyncio.gather(*map(self._meant, hosts)), strict=True))
        locations = [Location(host=canonical(one.host), port=one.port, addresses=found[one.host]) for one in wanted]
        if not self._shared:
            await asyncio.gather(*map(self._look_at_names_in_the_way, locations))
        return locations

    async def claim(
        self, transaction: Transaction, project_id: str, locations: Sequence[Location], *, by: str | None
    ) -> None:
        """Record the project's locations, as the last step of a transaction. ``AddressTaken`` if one belongs to another
        owner's project, or to one that ``by``, who requests it, does not administer."""
        await transaction.fetch_all("lock_addresses")
        if not self._shared:
            wanted = sorted({(one.port, address) for one in locations for address in one.addresses | {one.host}})
            taken = await transaction.fetch_one(
                "find_taken_address",
                project_id=project_id,
                by=by,
                ports=[port for port, _ in wanted],
                addresses=[address for _, address in wanted],
            )
            if taken is not None:
                raise AddressTaken(
                    f"What listens on port {taken['port']} of that host is another project's container: here each "
                    "belongs to the projects of one owner."
                )
        await self._write(transaction, project_id, locations)

    async def record(self, transaction: Transaction, project_id: str, locations: Sequence[Location]) -> None:
        """The same without a check, because the operator says so."""
        await transaction.fetch_all("lock_addresses")
        await self._write(transaction, project_id, locations)

    async def guard(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Those of a name's addresses that do not belong to another owner, before a connection to one of them."""
        if self._shared:
            return list(addresses)
        name = canonical(host)
        meant = {address: meanings(address) for address in addresses}
        try:
            refused = await self._refused(Location(host=name, port=port, addresses=frozenset().union(*meant.values())))
        except GatewayError as exc:
            # As before: followers continue during a database outage.
            known = self._allowed.get((name, port), frozenset())
            if kept := [address for address in addresses if address in known]:
                return kept
            raise OSError("whose container it is cannot be looked up now") from exc
        kept = [address for address in addresses if not meant[address] & refused]
        self._remember(name, port, kept)
        return kept

    async def _refused(self, location: Location) -> frozenset[str]:
        row = await self._database.fetch_one("addresses_of_host", host=location.host, port=location.port)
        known = frozenset(row["addresses"] or ()) if row else frozenset()
        if location.host in known and known - {location.host} == location.addresses:
            return frozenset()
        await self._look_at_names_in_the_way(location)
        return await self._database.transaction(partial(self._move, location=location))

    async def _move(self, transaction: Transaction, *, location: Location) -> frozenset[str]:
        """Record where this host leads now for its projects; returns the addresses that belong to another owner."""
        place = {"host": location.host, "port": location.port}
        await transaction.fetch_all("lock_addresses")
        rows = await transaction.fetch_all("others_addresses", **place, addresses=sorted(location.addresses))
        refused = frozenset(row["address"] for row in rows)
        await transaction.execute("move_addresses", **place, addresses=sorted(location.addresses - refused))
        if refused:
            logger.warning("a name leads to another owner's container", extra=place)
        return refused

    async def _look_at_names_in_the_way(self, location: Location) -> None:
        """A name may have left the address that it had before.

        A name that does not resolve now keeps its address: Docker's name server forgets stopped containers, and
        otherwise another owner could take it then.
        """
        place = {"host": location.host, "port": location.port}
        addresses = sorted(location.addresses)
        rows = await self._database.fetch_all("hosts_at", **place, addresses=addresses, limit=MAX_IN_THE_WAY)
        names = [row["host"] for row in rows if literal(row["host"]) is None]
        for name, found in zip(names, await asyncio.gather(*map(self._resolved, names)), strict=True):
            if found:
                await self._database.execute("leave_addresses", host=name, port=location.port, addresses=sorted(found))

    async def _meant(self, host: str) -> frozenset[str]:
        address = literal(host)
        return await self._resolved(canonical(host)) if address is None else meanings(str(address))

    async def _resolved(self, name: str) -> frozenset[str]:
        """A name's addresses; empty if there is none, or it cannot be looked up now."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._lookup(name)
        except OSError:  # of which TimeoutError is one
            return frozenset()
        return frozenset().union(*(meanings(address) for _, address in found))

    async def _write(self, transaction: Transaction, project_id: str, locations: Sequence[Location]) -> None:
        claims = sorted({(one.host, one.port, address) for one in locations for address in one.addresses | {one.host}})
        await transaction.execute("delete_addresses", project_id=project_id)
        await transaction.execute(
            "insert_addresses",
            project_id=project_id,
            hosts=[host for host, _, _ in claims],
            ports=[port for _, port, _ in claims],
            addresses=[address for _, _, address in claims],
        )

    def _remember(self, host: str, port: int, allowed: Collection[str]) -> None:
        self._allowed[host, port] = frozenset(allowed)


def address_policy(config: ContainersConfig) -> AddressPolicy:
    """Where containers may be; a ``ConfigError`` names the wrong entry."""
    try:
        return AddressPolicy.parse(config.allow)
    except ValueError as exc:
        raise ConfigError(f"containers.allow: {exc}") from exc


def canonical(host: str) -> str:
    """A host in canonical spelling, without a look-up."""
    return host.lower().rstrip(".")


async def leads_here(host: str, lookup: Lookup = system_lookup) -> bool:
    """Whether a host is this machine, in any spelling; False if its name does not resolve now."""
    name = canonical(host.strip("[]"))
    # Not every resolver knows these, which always mean this machine (RFC 6761 6.3).
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = [address for _, address in await lookup(name)]
    except (OSError, UnicodeError, TimeoutError):
        return False
    here = meanings(LOOPBACK)
    # A connection to the unspecified address reaches this machine.
    return any(meanings(text) & here or ipaddress.ip_address(text).is_unspecified for text in found)


def meanings(text: str) -> frozenset[str]:
    """An IP address in the forms that are compared; all of this machine's own count as one."""
    found = set[str]()
    # Without the zone, which names an interface.
    for address in readings(ipaddress.ip_address(text.partition("%")[0])):
        if address.is_loopback:
            found |= {LOOPBACK, _this_machine()}
        else:
            found.add(str(address))
            if _is_own(address):
                found.add(_this_machine())
    return frozenset(found)


def _this_machine() -> str:
    """A word for all of its addresses, with its host name, since other machines also have loopback addresses."""
    return f"own:{socket.gethostname()}"


def _is_own(address: Address) -> bool:
    """Whether it is an address of this machine, by the source address of a packet to it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(address), 9))
        except OSError:
            return False
        return ipaddress.ip_address(sock.getsockname()[0]) == address
