"""The server behind every proxy of a benchmark: as little work per answer as a Python process can do.

``python -m bench.upstream`` prints its port and serves until it is told to stop. ``/small`` is a JSON answer,
``/large`` is ``LARGE`` bytes.
"""

import asyncio
from typing import cast

import uvloop

SMALL = b'{"id":"ses_0123456789abcdef","status":"idle","title":"a small answer","messageCount":42,"agentId":"demo"}'
LARGE = 16 << 20


def _answer(content_type: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (content_type, len(body), body)


ANSWERS = {
    b"/small": _answer(b"application/json", SMALL),
    b"/large": _answer(b"application/octet-stream", bytes(LARGE)),
}


class Upstream(asyncio.Protocol):
    """Answers each request head by its path; the requests of a benchmark have no bodies."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            path = head.split(b" ", 2)[1]
            self._transport.write(ANSWERS[path])


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
