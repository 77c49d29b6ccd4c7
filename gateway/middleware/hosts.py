"""A host name for each project: ``http://<id>.localhost:8080/`` is its container's OpenCode, from the root on.

A web page names its files and calls from the root, which no path prefix survives. And on a host of its own a page that
a container serves shares no origin with the gateway's API, which it could otherwise use as its reader. Browsers take
``*.localhost`` for this machine without asking anybody (RFC 6761 6.3).
"""

import re
from functools import lru_cache

#: No name of a project's host is longer.
MAX_HOST = 80
_PROJECT_HOST = re.compile(r"([a-z0-9-]{1,63})\.localhost(?::[0-9]{1,5})?", re.IGNORECASE)


def project_of_host(host: str) -> str | None:
    """The id of the project whose host this is, port included or not."""
    return _project_of_host(host) if len(host) <= MAX_HOST else None


@lru_cache(maxsize=256)
def _project_of_host(host: str) -> str | None:
    match = _PROJECT_HOST.fullmatch(host)
    return match[1].lower() if match else None
