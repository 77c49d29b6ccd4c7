"""Authenticates requests: by a credential, or on event streams by a ticket or its cookie."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Presented
from gateway.identity.room import IDENTITY
from gateway.identity.stream_tickets import COOKIE_SECONDS, StreamOf
from gateway.identity.tokens import cookie_name
from gateway.proxy.websocket import is_handshake
from gateway.stream.dialects import OWN
from gateway.web.destination import DESTINATION
from gateway.web.keys import (
    CALLER,
    CAME_BY_PASS,
    PASSTHROUGH_TICKET,
    SIGNED_IN,
    STREAM_TICKET,
    USER,
)
from gateway.web.middleware.browsers import browser_scheme

_COOKIE = web.RequestKey("stream_cookie", tuple[StreamOf, str])


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Identify the caller, or raise ``Unauthenticated``."""
    if not request[DESTINATION].is_public:
        caller = await _identified(request)
        request[CALLER], request[USER] = caller, caller.user_id
    return await handler(request)


async def _identified(request: web.Request) -> Caller:
    is_here = request[DESTINATION].asked.is_here
    presented = Presented(headers=request.headers, peer=request.remote, to_loopback=is_here)
    try:
        return await request.app[IDENTITY].identity.identify(presented)
    except Unauthenticated:
        by_pass = await _by_pass(request)
        if by_pass is None:
            raise
        return by_pass


async def _by_pass(request: web.Request) -> Caller | None:
    meant = _stream_of(request)
    if meant is None:
        return None
    stream, parameter = meant
    request[CAME_BY_PASS] = True
    ticket, cookie = request.query.get(parameter), request.cookies.get(stream.cookie)
    secret = cookie or ticket
    if not secret:
        return None
    throttle = request.app[IDENTITY].throttle
    client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
    with throttle.guarding(client, secret, wrong=Unauthenticated):
        caller = await _whose_pass(request, stream, ticket, cookie)
    if _COOKIE in request:
        throttle.held(client, request[_COOKIE][1])
    return caller


async def _whose_pass(request: web.Request, stream: StreamOf, ticket: str | None, cookie: str | None) -> Caller:
    tickets = request.app[IDENTITY].stream_tickets
    # The ticket first: the cookie may belong to a former user of this browser.
    if ticket and (exchanged := await tickets.exchange(ticket, stream, cookie)):
        caller, request[_COOKIE] = exchanged[0], (stream, exchanged[1])
        return caller
    if cookie and (known := await tickets.find(cookie, stream)):
        return known
    raise Unauthenticated("The ticket was used, has expired, or is for another stream.", error="invalid_token")


def _stream_of(request: web.Request) -> tuple[StreamOf, str] | None:
    """The stream that is requested and its ticket's query parameter; None if tickets do not apply."""
    destination = request[DESTINATION]
    project_id, endpoint = destination.project_id, destination.endpoint
    if project_id is None or endpoint is None or "\0" in request.path or not request.raw_path.isascii():
        return None
    if destination.stream is OWN:
        return StreamOf.events(project_id, request.match_info.get("session_id")), STREAM_TICKET
    is_stream = is_handshake(request) or "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")
    if endpoint.is_passed_on and request.method == hdrs.METH_GET and is_stream:
        return StreamOf.passed_through(project_id, request.raw_path.partition("?")[0]), PASSTHROUGH_TICKET
    return None


async def give_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Set the cookie that a ticket or sign-in link was exchanged for (``on_response_prepare``), even on errors: the
    ticket is used up."""
    cookies = []
    if (given := request.get(_COOKIE)) is not None:
        stream, text = given
        cookies.append(f"{stream.cookie}={text}; Path={stream.path.replace(';', '%3B')}; Max-Age={COOKIE_SECONDS}")
    if (signed_in := request.get(SIGNED_IN)) is not None:
        text, seconds = signed_in
        cookies.append(f"{cookie_name(request.headers.get(hdrs.HOST))}={text}; Path=/; Max-Age={seconds}")
    secure = "; Secure" if cookies and browser_scheme(request) == "https" else ""
    for cookie in cookies:
        # aiohttp has already written the response's own cookies. Without Domain it is limited to this host.
        response.headers.add(hdrs.SET_COOKIE, f"{cookie}; HttpOnly; SameSite=Strict{secure}")
