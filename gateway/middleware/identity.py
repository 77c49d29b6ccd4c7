"""Who asks: by a credential, or on an event stream by a pass."""

from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Presented
from gateway.identity.passes import COOKIE_SECONDS, StreamOf
from gateway.keys import CALLER, IDENTITY, PASSES, PROXIES, PUBLIC_ROUTES, STREAM_ROUTES, THROTTLE, USER
from gateway.middleware.hosts import project_of_host
from gateway.middleware.sites import is_here

TICKET = "ticket"
_COOKIE = web.RequestKey("stream_cookie", tuple[StreamOf, str])


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who sends the request; ``Unauthenticated`` where nobody knows."""
    host = request.headers.get(hdrs.HOST, "localhost")
    is_own_host = project_of_host(host) is not None
    # On a project's own host every path is its container's.
    if request.match_info.route not in request.app[PUBLIC_ROUTES] or is_own_host:
        caller = await _slowed_down(request, host, is_own_host)
        request[CALLER], request[USER] = caller, caller.user_id
    return await handler(request)


async def _slowed_down(request: web.Request, host: str, is_own_host: bool) -> Caller:
    """Who it is, unless too much that did not hold has come from there lately."""
    shown = _shown(request)
    if shown is None:
        return await _identified(request, host, is_own_host)
    throttle, client = request.app[THROTTLE], request.app[PROXIES].client_of(request.headers, request.remote)
    throttle.check(client, shown)
    try:
        caller = await _identified(request, host, is_own_host)
    except Unauthenticated as exc:
        if exc.error is not None:
            throttle.failed(client)
        raise
    throttle.held(shown)
    return caller


def _shown(request: web.Request) -> str | None:
    """What the request is to be known by; None where it is nothing that could be guessed."""
    if hdrs.AUTHORIZATION in request.headers:
        return request.headers[hdrs.AUTHORIZATION]
    if request.match_info.route.name in STREAM_ROUTES:
        return request.query.get(TICKET) or request.headers.get(hdrs.COOKIE)
    return None


async def _identified(request: web.Request, host: str, is_own_host: bool) -> Caller:
    presented = Presented(headers=request.headers, peer=request.remote, to_loopback=is_here(f"//{host}"))
    try:
        return await request.app[IDENTITY].identify(presented)
    except Unauthenticated:
        by_pass = None if is_own_host else await _by_pass(request)
        if by_pass is None:
            raise
        return by_pass


async def _by_pass(request: web.Request) -> Caller | None:
    if request.match_info.route.name not in STREAM_ROUTES:
        return None
    stream = StreamOf(request.match_info["project_id"], request.match_info.get("session_id"))
    if "\0" in stream.path:
        return None
    passes = request.app[PASSES]
    ticket = request.query.get(TICKET)
    # The ticket first: the cookie may be of whoever used this browser before.
    if ticket and (exchanged := await passes.exchange(ticket, stream)):
        caller, request[_COOKIE] = exchanged[0], (stream, exchanged[1])
        return caller
    cookie = request.cookies.get(stream.cookie)
    if cookie and (known := await passes.find(cookie, stream)):
        return known
    if ticket or cookie:
        raise Unauthenticated("The ticket has been used, has expired, or is another stream's.", error="invalid_token")
    return None


async def give_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """What a ticket was exchanged for, with whatever answer there is: the ticket is gone (``on_response_prepare``)."""
    given = request.get(_COOKIE)
    if given is None:
        return
    stream, text = given
    where = f"{stream.cookie}={text}; Path={quote(stream.path)}; Max-Age={COOKIE_SECONDS}"
    secure = "; Secure" if _is_secure(request) else ""
    # aiohttp has written the response's own cookies into its head by now.
    response.headers.add(hdrs.SET_COOKIE, f"{where}; HttpOnly; SameSite=Strict{secure}")


def _is_secure(request: web.Request) -> bool:
    """Whether the browser's connection is encrypted, to us or to a proxy of ours in front."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    return request.secure or (forwarded and request.remote in request.app[PROXIES])
