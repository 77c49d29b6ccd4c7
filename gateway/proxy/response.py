"""The answer that a client gets for a forwarded request."""

from aiohttp import hdrs, web


class ForwardedResponse(web.StreamResponse):
    """Says what the upstream said, and no more: aiohttp would add a Server and a Content-Type of its own."""

    async def _prepare_headers(self) -> None:
        invented = [name for name in (hdrs.SERVER, hdrs.CONTENT_TYPE) if name not in self.headers]
        await super()._prepare_headers()
        for name in invented:
            self.headers.popall(name, None)
