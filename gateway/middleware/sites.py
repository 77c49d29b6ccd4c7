"""By which names the gateway is asked, and which web pages may ask: against rebinding, foreign pages and their like.

A page of another site can make a browser send requests, and a foreign name that resolves to this machine gets it
around the same-origin policy: so each request must be sent to a name of the gateway's own, and one that changes
something must not come from a page that nobody has named. Pages that are named (``identity.allowed_origins``) may read
answers, too.
"""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from gateway.config import is_loopback
from gateway.middleware.hosts import project_of_host

#: Longer than any name that is meant.
MAX_ADDRESS = 300


class Sites:
    """The gateway's names, and the origins of pages that may use it, each exactly."""

    def __init__(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self.change(hosts, origins)

    def change(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """From now on it is these."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origins)

    def are_asked_by(self, host: str) -> bool:
        """Whether a ``Host`` field names this gateway: by a name of this machine, or one that is configured."""
        return is_here(f"//{host}") or _name_of(host) in self._hosts

    def welcome(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may change something by asking ``host``.

        A container's page, on its project's host, may ask that host alone.
        """
        if origin in self.origins:
            return True
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        if page.netloc == host and page.scheme in ("http", "https"):
            return True
        return is_here(origin) and project_of_host(page.netloc) is None and is_here(f"//{host}")


SITES = web.AppKey("sites", Sites)


def is_here(address: str) -> bool:
    """Whether a URL names this machine, and in no way that could be read as another's."""
    return len(address) <= MAX_ADDRESS and _names_this_machine(address)


@lru_cache(maxsize=256)
def _names_this_machine(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return "@" not in parts.netloc and (
            is_loopback(parts.hostname or "") or project_of_host(parts.netloc) is not None
        )
    except ValueError:
        return False


def _name_of(host: str) -> str | None:
    """The name in a ``Host`` field, without its port."""
    return _split(host) if len(host) <= MAX_ADDRESS else None


@lru_cache(maxsize=256)
def _split(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  # raises where it is none
    except ValueError:
        return None
    return None if "@" in host or parts.netloc != host else parts.hostname
