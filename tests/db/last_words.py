"""A PostgreSQL that is stopped at once: it sends a warning in answer to a statement, and closes the connection."""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTINGS = {"server_version": "17.0", "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "integer_datetimes": "on"}
_WARNING = {"S": "WARNING", "V": "WARNING", "C": "57P02", "M": "terminating connection"}


@contextmanager
def stopping_server(directory: Path) -> Iterator[dict[str, str]]:
    """Parameters for one connection to it."""
    listening = socket.socket(socket.AF_UNIX)
    listening.settimeout(10)
    listening.bind(str(directory / ".s.PGSQL.5432"))
    listening.listen()
    serving = threading.Thread(target=_serve, args=(listening,))
    serving.start()
    try:
        yield {"host": str(directory), "port": "5432", "user": "anybody", "dbname": "any"}
    finally:
        serving.join()
        listening.close()


def _serve(listening: socket.socket) -> None:
    client, _ = listening.accept()
    with client:
        client.settimeout(10)
        client.recv(4096)
        settings = (_message(b"S", f"{name}\0{value}\0".encode()) for name, value in _SETTINGS.items())
        client.sendall(_message(b"R", struct.pack("!i", 0)) + b"".join(settings) + _message(b"Z", b"I"))
        # The statement stays unread, so that the client's end of the socket is in error afterwards.
        select.select([client], [], [], 10)
        client.sendall(_message(b"N", "".join(f"{key}{text}\0" for key, text in _WARNING.items()).encode() + b"\0"))


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
