"""Repeated failures slow a caller down: whoever shows credentials that do not hold, again and again, has to wait.

A bucket for each client address: some failures at once, then one for every few seconds. Meanwhile nothing that is shown
from there is looked at, which would tell whether it holds, except what has been found good from there a short time ago:
people share addresses. Every secret that a stranger can show goes through here: credentials, tickets and cookies, the
state and the page of a login, the token of ``/metrics``.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from typing import Final

from gateway.errors import GatewayError, TooManyRequests
from gateway.wire.bounded import Bounded

#: So many failures at once…
BURST: Final = 10
#: … and one more after each of these.
REFILL_SECONDS: Final = 6.0
MAX_ADDRESSES: Final = 10_000
#: How long a credential that was good is looked at in any case.
KNOWN_SECONDS: Final = 600.0
MAX_KNOWN: Final = 10_000


class Throttle:
    """The failures of each address, as far as they count still. Each process of a gateway has its own."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, on_refused: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._on_refused = on_refused
        #: Address → when its bucket will be full again; oldest first.
        self._full_at: Bounded[str, float] = Bounded(MAX_ADDRESSES)
        #: What was good, with the address that it came from → until when it is looked at in any case.
        self._known: Bounded[bytes, float] = Bounded(MAX_KNOWN)

    def check(self, address: str | None, secret: str) -> None:
        """``TooManyRequests`` where it is not to be looked at."""
        if not self._full_at:
            return
        wait = self._full_at.get(network_of(address), 0.0) - self._clock() - (BURST - 1) * REFILL_SECONDS
        if wait > 0 and self._known.get(_digest(address, secret), 0.0) < self._clock():
            self._on_refused()
            raise TooManyRequests(
                "Too many credentials from this address did not hold.", headers={"Retry-After": str(math.ceil(wait))}
            )

    def failed(self, address: str | None) -> None:
        network, now = network_of(address), self._clock()
        self._full_at[network] = max(self._full_at.get(network, now), now) + REFILL_SECONDS

    def held(self, address: str | None, secret: str) -> None:
        self._known[_digest(address, secret)] = self._clock() + KNOWN_SECONDS

    @contextmanager
    def guarding(self, address: str | None, secret: str, *, wrong: type[GatewayError]) -> Iterator[None]:
        """Around whatever looks at a secret, and raises ``wrong`` where it does not hold."""
        self.check(address, secret)
        try:
            yield
        except wrong:
            self.failed(address)
            raise
        self.held(address, secret)


def network_of(address: str | None) -> str:
    """Whom an address stands for: one IPv6 customer has a whole /64."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return parsed.exploded[:19]
    return str(parsed)


def _digest(address: str | None, secret: str) -> bytes:
    return hashlib.sha256(f"{network_of(address)} {secret}".encode("utf-8", "surrogateescape")).digest()
