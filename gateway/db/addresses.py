"""Where a connection can be tried: libpq's ``host``, ``hostaddr`` and ``port`` lists, one address at a time.

libpq resolves names in the calling thread, which stops the event loop, and has no time limit for one address out of
several when it connects asynchronously. So names are resolved here and each attempt gets exactly one address.
"""

import asyncio
import socket
from collections.abc import Mapping


async def addresses(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """What to put over ``parameters`` for each address in turn; ``OSError`` if no name can be resolved.

    ``host`` stays beside ``hostaddr``: certificates and .pgpass are looked up by it.
    """
    hosts = parameters.get("host", "").split(",")
    literals = parameters.get("hostaddr", "").split(",")
    count = max(len(hosts), len(literals))
    ports = parameters.get("port", "").split(",")
    found: list[dict[str, str]] = []
    failure: OSError | None = None
    for index in range(count):
        host, literal = _at(hosts, index), _at(literals, index)
        port = ports[0] if len(ports) == 1 else _at(ports, index)
        try:
            found += [_target(host, each, port) for each in await _resolve(host, literal)]
        except OSError as exc:
            failure = exc
    if failure is not None and not found:
        raise failure
    return found


async def _resolve(host: str, literal: str) -> list[str]:
    if literal or not host or host.startswith(("/", "@")):  # "@" is an abstract Unix socket
        return [literal]
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in infos))


def _target(host: str, hostaddr: str, port: str) -> dict[str, str]:
    return {key: value for key, value in (("host", host), ("hostaddr", hostaddr), ("port", port)) if value}


def _at(values: list[str], index: int) -> str:
    return values[index] if index < len(values) else ""
