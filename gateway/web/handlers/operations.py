"""What the machinery around a gateway asks: whether it lives, whether it can work, and what it does."""

from collections.abc import Mapping

from aiohttp import hdrs, web
from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.errors import Forbidden
from gateway.identity.room import IDENTITY
from gateway.web.destination import DESTINATION
from gateway.web.handlers import shapes, views
from gateway.web.keys import EXPOSITION, READINESS

_NOT_KEPT: Mapping[str, str] = {hdrs.CACHE_CONTROL: "no-store"}


async def healthz(request: web.Request) -> web.Response:
    """This process lives: it takes connections and its event loop turns. What it depends on is not asked."""
    return views.answer(shapes.Health(status="alive"), headers=_NOT_KEPT)


async def readyz(request: web.Request) -> web.Response:
    """Whether requests should be sent here, with each part that this depends on; 503 where one of them is not ready."""
    report = await request.app[READINESS].report()
    shown = shapes.Readiness(
        status="ready" if report.is_ready else "not_ready",
        parts={
            name: shapes.Part(ready=reason is None, reason=reason or UNSET, note=report.notes.get(name, UNSET))
            for name, reason in report.parts.items()
        },
    )
    return views.answer(shown, status=200 if report.is_ready else 503, headers=_NOT_KEPT)


async def metrics(request: web.Request) -> web.Response:
    """The figures for Prometheus; with several workers those of all of them, whichever is asked."""
    scrapers, shown = request.app[IDENTITY].scrapers, request.headers.get(hdrs.AUTHORIZATION)
    if not scrapers.is_near(request.headers, request.remote, request[DESTINATION].asked):
        refusal = Forbidden(
            "The figures are for the networks in metrics.allow, asked for by an address or a name in "
            "identity.allowed_hosts, and for those who have metrics.token."
        )
        if shown is None:
            raise refusal
        client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
        with request.app[IDENTITY].throttle.guarding(client, shown, wrong=Forbidden):
            if not scrapers.has_token(shown):
                raise refusal
    text = await request.app[EXPOSITION].text()
    return web.Response(body=text, headers={**_NOT_KEPT, hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})
