"""Slows down clients that repeatedly send wrong secrets.

Each client address has a token bucket of failures. While it is empty, no secret from there is checked, except those
that were valid from there shortly before, because people share addresses. It covers all secrets that unauthenticated
clients can send: credentials, tickets and cookies, the state and page of a login, the token of ``/metrics``.
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

#: Failures at once, and the time for one more.
BURST: Final = 10
REFILL_SECONDS: Final = 6.0
MAX_ADDRESSES: Final = 10_000
#: How long a valid credential is exempt.
KNOWN_SECONDS: Final = 600.0
MAX_KNOWN: Final = 10_000


class Throttle:
    """The recent failures by address, in this process."""

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
        """``TooManyRequests`` if the secret must not be checked now."""
        if not self._full_at:
            return
        wait = self._full_at.get(network_of(address), 0.0) - self._clock() - (BURST - 1) * REFILL_SECONDS
        if wait > 0 and self._known.get(_digest(address, secret), 0.0) < self._clock():
            self._on_refused()
            raise TooManyRequests(
                "Too many credentials from this address were wrong.", headers={"Retry-After": str(math.ceil(wait))}
            )

    def failed(self, address: str | None) -> None:
        network, now = network_of(address), self._clock()
        self._full_at[network] = max(self._full_at.get(network, now), now) + REFILL_SECONDS

    def held(self, address: str | None, secret: str) -> None:
        self._known[_digest(address, secret)] = self._clock() + KNOWN_SECONDS

    @contextmanager
    def guarding(self, address: str | None, secret: str, *, wrong: type[GatewayError]) -> Iterator[None]:
        """Around the check of a secret, which raises ``wrong`` if it is not valid."""
        self.check(address, secret)
        try:
            yield
        except wrong:
            self.failed(address)
            raise
        self.held(address, secret)


def network_of(address: str | None) -> str:
    """The network of one client: IPv6 customers have a whole /64."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return parsed.exploded[:19]
    return str(parsed)


def _digest(address: str | None, secret: str) -> bytes:
    return hashlib.sha256(f"{network_of(address)} {secret}".encode("utf-8", "surrogateescape")).digest()
