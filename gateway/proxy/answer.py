"""An upstream's answer."""

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage

#: The longest media type (RFC 6838 4.2).
MAX_MEDIA_TYPE = 255


class Answer:
    """An answer whose headers have arrived; ``content`` is its body, still encoded."""

    __slots__ = ("connection", "content", "headers", "reason", "status")

    def __init__(self, message: RawResponseMessage, content: aiohttp.StreamReader, connection: Connection) -> None:
        self.status = message.code
        self.reason = message.reason
        self.headers = message.headers
        self.content = content
        self.connection = connection

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case; "" if there is none."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0][:MAX_MEDIA_TYPE].strip().lower()

    @property
    def ends_by_itself(self) -> bool:
        """Whether the body has an end: it is not an event stream or another protocol."""
        return self.status != 101 and self.content_type != "text/event-stream"

    async def read(self) -> bytes:
        """The whole body."""
        return await self.content.read()

    def limit_silence(self, seconds: float | None) -> None:
        """From now on reading fails if the upstream is silent for ``seconds``; a slow reader does not count."""
        protocol, transport = self.connection.protocol, self.connection.transport
        if protocol is None or transport is None or self.content.is_eof():
            return  # the whole answer is here already
        protocol.read_timeout = seconds
        if seconds is None or transport.is_reading():
            protocol.start_timeout()
