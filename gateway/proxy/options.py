"""What a server must be run with whose requests are forwarded."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: Bytes.
READ_BUFFER = 65_536

SERVER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # Compressed request bodies pass as they are.
        "auto_decompress": False,
        # A client that goes away cancels its request, and with it the upstream's.
        "handler_cancellation": True,
        # What is kept of a body that nobody reads yet.
        "read_bufsize": READ_BUFFER,
    }
)
"""What ``web.AppRunner`` must be given for ``forward`` to keep its promises.

``client_max_size`` of the application bounds ``request.read()`` only, never what is forwarded.
"""
