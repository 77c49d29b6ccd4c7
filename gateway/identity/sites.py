"""By which names the gateway is asked, and which web pages may ask: against rebinding, foreign pages and their like.

A page of another site can make a browser send requests, and a foreign name that resolves to this machine gets it
around the same-origin policy: so each request must be sent to a name of the gateway's own, and must not come from a
page of another origin, unless that is named (``identity.allowed_origins``). Another port is another origin.

Each project has a host of its own: ``http://<id>.localhost:8080/`` is its container's OpenCode, from the root on, and
``<id>`` below ``server.project_hosts``, where that is configured. A web page names its files and calls from the root,
which no path prefix survives; and on a host of its own a container's page shares no origin with the gateway's API,
which it could otherwise use as its reader. Browsers take ``*.localhost`` for this machine without asking anybody
(RFC 6761 6.3).
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Final

import attrs

from gateway.config.schema import is_loopback
from gateway.wire.hosts import MAX_FIELD, Host, Origin, parse_host, parse_origin

_LOCALHOST: Final = "localhost"
#: A project's id that is a label of a host name (RFC 1035 2.3.4).
_LABEL = re.compile(r"[a-z0-9-]{1,63}")
ANY_SCHEME: Final = ("http", "https")


@attrs.frozen(kw_only=True)
class Asked:
    """What a request is addressed to."""

    host: Host | None
    """None where the request does not say."""
    project_id: str | None = None
    """The project whose own host this is; None on the gateway's own."""
    is_here: bool = False
    """Whether it is a name of this machine, and of none other."""
    is_known: bool = False
    """Whether the gateway has this name at all."""


#: No page sends a request without a ``Host`` field (HTTP/1.0): it is for this machine.
UNNAMED: Final = Asked(host=None, is_here=True, is_known=True)


class Sites:
    """The gateway's names, and the origins of pages that may use it."""

    def __init__(
        self, hosts: Sequence[str], origins: Sequence[str], *, project_hosts: str = "", public_url: str = ""
    ) -> None:
        """``project_hosts``: ``*.agents.example.com``; ``public_url``: where browsers reach the gateway."""
        self._domain = project_hosts.removeprefix("*.").lower()
        self._public = parse_origin("/".join(public_url.split("/", 3)[:3]))
        self.change(hosts, origins)

    def change(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """From now on it is these."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origins)
        self._asked: Callable[[str], Asked | None] = lru_cache(maxsize=1024)(self._read)

    def asked(self, field: str) -> Asked | None:
        """What a ``Host`` field means; None where it names no host."""
        return self._asked(field) if len(field) <= MAX_FIELD else None

    def project_host(self, project_id: str, asked: Asked) -> Host | None:
        """The project's own host, for whoever has asked the gateway by this one; None where it has none there."""
        domain = _LOCALHOST if asked.is_here else self._domain
        if asked.host is None or not domain or not _LABEL.fullmatch(project_id):
            return None
        return Host(f"{project_id}.{domain}", asked.host.port)

    def scheme(self, host: Host | None, seen: str) -> str:
        """The scheme by which browsers ask that host, where the request itself says ``seen``."""
        public = self._public
        return public.scheme if public and host and public.host.is_same(host, public.scheme) else seen

    def welcome(self, origin: str, host: Host | None, schemes: Collection[str]) -> bool:
        """Whether a page of ``origin`` may ask ``host``, which browsers reach by one of these schemes.

        A container's page, on its project's host, may ask that host alone.
        """
        if origin in self.origins:
            return True
        page = parse_origin(origin)
        return page is not None and host is not None and _is_of(page, host, schemes)

    def _read(self, field: str) -> Asked | None:
        host = parse_host(field)
        if host is None:
            return None
        project_id = self._project_of(host.name)
        is_here = is_loopback(host.name) or (project_id is not None and host.name.endswith(f".{_LOCALHOST}"))
        return Asked(
            host=host,
            project_id=project_id,
            is_here=is_here,
            is_known=is_here or project_id is not None or host.name in self._hosts,
        )

    def _project_of(self, name: str) -> str | None:
        label, _, domain = name.partition(".")
        is_projects = domain in (_LOCALHOST, self._domain) and domain and _LABEL.fullmatch(label)
        return label if is_projects else None


def _is_of(page: Origin, host: Host, schemes: Collection[str]) -> bool:
    return page.scheme in schemes and page.host.is_same(host, page.scheme)
