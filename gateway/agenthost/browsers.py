"""Refuses requests to foreign host names (DNS rebinding), and all requests of web pages: the agent host has none."""

from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import Forbidden
from gateway.wire.hosts import Host, parse_host, parse_origin
from gateway.wire.pages import foreign_page, hosts_asked, is_address, is_loopback, is_named


def browsers(config: AgentHostConfig) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        host: Host | None = None
        # HTTP/1.0 clients may send no Host; browsers always do.
        for named in hosts_asked(request.raw_path, request.headers.get(hdrs.HOST)):
            host = parse_host(named)
            if host is None or not _is_own(host, config):
                raise Forbidden(
                    f"The Host {named[:100]!r} is none of this agent host's: it answers to this machine's names"
                    f"{'' if config.loopback_only else ', to addresses,'} and to those in agent_host.allowed_hosts "
                    "(ACP_GATEWAY_AGENT_HOST_ALLOWED_HOSTS)"
                )
        page = foreign_page(
            request.headers.getall(hdrs.ORIGIN, []),
            request.headers.getall("Sec-Fetch-Site", []),
            partial(_is_page_of, host),
        )
        if page is not None:
            raise Forbidden(f"{page} may not call this agent host")
        return await handler(request)

    return middleware


def _is_own(host: Host, config: AgentHostConfig) -> bool:
    if is_loopback(host.name) or is_named(host, config.allowed_hosts):
        return True
    # A container does not know its own addresses, and addresses cannot be rebound.
    return is_address(host.name) and not config.loopback_only


def _is_page_of(host: Host | None, origin: str) -> bool:
    page = parse_origin(origin)
    return page is not None and page.scheme == "http" and host is not None and page.host.is_same(host, "http")
