"""The gateway's host names, and which web pages may call it.

Against cross-site requests and DNS rebinding, each request must use a name of the gateway, and must not come from a
page of another origin unless that is in ``identity.allowed_origins``. Another port is another origin.

Each project has its own host, ``http://<id>.localhost:8080/`` and ``<id>`` below ``server.project_hosts``, where its
OpenCode is served from the root. Web pages use paths from the root, so a path prefix does not work for them; and on its
own host a container's page does not share an origin with the gateway's API. Browsers resolve ``*.localhost`` to this
machine themselves (RFC 6761 6.3).
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Final

import attrs

from gateway.config.schema import is_loopback
from gateway.wire.hosts import MAX_FIELD, Host, parse_host, parse_origin

_LOCALHOST: Final = "localhost"
#: A project's id that is a label of a host name (RFC 1035 2.3.4).
_LABEL = re.compile(r"[a-z0-9-]{1,63}")
ANY_SCHEME: Final = ("http", "https")


@attrs.frozen(kw_only=True)
class Asked:
    """The host that a request is addressed to."""

    host: Host | None
    #: The project whose own host this is; None on the gateway's host.
    project_id: str | None = None
    #: Whether the name always means this machine.
    is_here: bool = False
    #: Whether it is a name of the gateway or of a project.
    is_known: bool = False


#: Without a ``Host`` field (HTTP/1.0), which browsers always send.
UNNAMED: Final = Asked(host=None, is_here=True, is_known=True)


class Sites:
    """The gateway's host names, and the allowed origins of pages."""

    def __init__(
        self, hosts: Sequence[str], origins: Sequence[str], *, project_hosts: str = "", public_url: str = ""
    ) -> None:
        """``project_hosts``, such as ``*.agents.example.com``; ``public_url``: the gateway's address in browsers."""
        self._domain = project_hosts.removeprefix("*.").lower()
        self._public = parse_origin("/".join(public_url.split("/", 3)[:3]))
        self.change(hosts, origins)

    def change(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origins)
        self._asked: Callable[[str], Asked | None] = lru_cache(maxsize=1024)(self._read)

    def asked(self, field: str) -> Asked | None:
        """What a ``Host`` field means; None if it is malformed."""
        return self._asked(field) if len(field) <= MAX_FIELD else None

    def project_host(self, project_id: str, asked: Asked) -> Host | None:
        """The project's own host, for clients that use the gateway by ``asked``; None if there is none."""
        domain = _LOCALHOST if asked.is_here else self._domain
        if asked.host is None or not domain or not _LABEL.fullmatch(project_id):
            return None
        return Host(f"{project_id}.{domain}", asked.host.port)

    def scheme(self, host: Host | None, seen: str) -> str:
        """The scheme that browsers use for the host: that of ``public_url`` if it is the same host, else ``seen``."""
        public = self._public
        return public.scheme if public and host and public.host.is_same(host, public.scheme) else seen

    def welcome(self, origin: str, host: Host | None, schemes: Collection[str]) -> bool:
        """Whether a page of ``origin`` may call ``host``, which browsers reach by one of these schemes.

        A container's page, on its project's host, may call only that host.
        """
        if origin in self.origins:
            return True
        page = parse_origin(origin)
        return bool(page and host and page.scheme in schemes and page.host.is_same(host, page.scheme))

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
