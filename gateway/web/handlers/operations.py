"""Health, readiness and metrics."""

from collections.abc import Mapping

from aiohttp import hdrs, web
from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.errors import Forbidden
from gateway.identity.room import IDENTITY
from gateway.web.destination import DESTINATION
from gateway.web.handlers import shapes, views
from gateway.web.keys import EXPOSITION, READINESS

_NO_STORE: Mapping[str, str] = {hdrs.CACHE_CONTROL: "no-store"}


async def healthz(request: web.Request) -> web.Response:
    """Whether this process accepts requests; nothing that it depends on is checked."""
    return views.answer(shapes.Health(status="alive"), headers=_NO_STORE)


async def readyz(request: web.Request) -> web.Response:
    """Whether requests should be sent here, with the state of each part; 503 if one is not ready."""
    report = await request.app[READINESS].report()
    shown = shapes.Readiness(
        status="ready" if report.is_ready else "not_ready",
        parts={
            name: shapes.Part(ready=reason is None, reason=reason or UNSET, note=report.notes.get(name, UNSET))
            for name, reason in report.parts.items()
        },
    )
    return views.answer(shown, status=200 if report.is_ready else 503, headers=_NO_STORE)


async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus, summed over all workers."""
    scrapers, shown = request.app[IDENTITY].scrapers, request.headers.get(hdrs.AUTHORIZATION)
    if not scrapers.is_near(request.headers, request.remote, request[DESTINATION].asked):
        refusal = Forbidden(
            "Metrics are served to the networks in metrics.allow, at an address or a name in identity.allowed_hosts, "
            "and to callers with metrics.token."
        )
        if shown is None:
            raise refusal
        client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
        with request.app[IDENTITY].throttle.guarding(client, shown, wrong=Forbidden):
            if not scrapers.has_token(shown):
                raise refusal
    text = await request.app[EXPOSITION].text()
    return web.Response(body=text, headers={**_NO_STORE, hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})
