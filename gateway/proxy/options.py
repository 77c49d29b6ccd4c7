"""Options for a server that forwards requests."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: Bytes.
READ_BUFFER = 65_536

SERVER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # Compressed request bodies pass unchanged.
        "auto_decompress": False,
        # A client that disconnects cancels its request, and so the upstream's.
        "handler_cancellation": True,
        # Buffer of a body that is not being read.
        "read_bufsize": READ_BUFFER,
    }
)
"""What ``web.AppRunner`` must be given for ``forward`` to keep its promises.

``client_max_size`` of the application bounds ``request.read()`` only, never what is forwarded.
"""
