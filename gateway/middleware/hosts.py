"""A host name for each project: ``http://<id>.localhost:8080/`` is its container's OpenCode, from the root on.

A web page names its files and calls from the root, which no path prefix survives. And on a host of its own a page that
a container serves shares no origin with the gateway's API, which it could otherwise use as its reader. Browsers take
``*.localhost`` for this machine without asking anybody (RFC 6761 6.3).
"""

import re

_PROJECT_HOST = re.compile(r"([a-z0-9-]{1,63})\.localhost(?::[0-9]{1,5})?", re.IGNORECASE)


def project_of_host(host: str) -> str | None:
    """The id of the project whose host this is, port included or not."""
    match = _PROJECT_HOST.fullmatch(host)
    return match[1].lower() if match else None
