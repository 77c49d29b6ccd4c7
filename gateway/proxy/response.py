"""The client's answer to a forwarded request."""

import re
from collections.abc import Callable
from typing import Self

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.errors import UpstreamUnreachable
from gateway.proxy.answer import Answer
from gateway.proxy.headers import to_client, write_head

#: Which fields the client gets.
Returned = Callable[[Answer], CIMultiDict[str]]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def unchanged(answer: Answer) -> CIMultiDict[str]:
    """All fields but those of one hop."""
    return to_client(answer.headers)


class ForwardedResponse(web.StreamResponse):
    """The upstream's answer and no more: aiohttp would add Server and Content-Type.

    ``prepare`` keeps the head in the writer, to be sent with the first piece of the body; ``send_headers`` of the
    writer sends it earlier.
    """

    @classmethod
    def of(cls, answer: Answer, returned: Returned) -> Self:
        """The upstream's status, and the ``returned`` fields; ``UpstreamUnreachable`` if they are not HTTP."""
        headers = returned(answer)
        # aiohttp reads control characters but refuses to write them, when it is too late for an error.
        if _CONTROL.search("".join([answer.reason or "", *headers.values()])):
            raise UpstreamUnreachable("The project's container answered with something that is not HTTP.")
        return cls(status=answer.status, reason=answer.reason, headers=headers)

    async def _write_headers(self) -> None:
        request, writer = self._req, self._payload_writer
        assert request is not None
        assert writer is not None
        major, minor = request.version
        await write_head(writer, f"HTTP/{major}.{minor} {self.status} {self.reason}", self.headers)

    async def _prepare_headers(self) -> None:
        invented = [name for name in (hdrs.SERVER, hdrs.CONTENT_TYPE) if name not in self.headers]
        await super()._prepare_headers()
        for name in invented:
            self.headers.popall(name, None)
