"""Signs a browser in by a single-use link, and out again."""

import logging

import attrs
from aiohttp import web

from gateway.errors import NotFound, SignInLinkGone
from gateway.identity.room import IDENTITY
from gateway.identity.sign_ins import BROWSER_SECONDS
from gateway.identity.tokens import Tokens
from gateway.web.handlers import shapes, views
from gateway.web.handlers.requests import NoBody, read_body
from gateway.web.keys import CALLER, CONFIG, SIGNED_IN

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class SignInBody:
    """Body of ``POST /api/sign-in``: the part of the link after ``#sign-in=``."""

    link: str = attrs.field(repr=False)


async def enter(request: web.Request) -> web.Response:
    """Exchange a sign-in link for an API token, which is valid only together with the cookie of this response."""
    throttle = request.app[IDENTITY].throttle
    client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
    # Before the body is read: there is no list of valid links to exempt from throttling.
    throttle.check(client, "")
    body = await read_body(request, SignInBody)
    if Tokens.name not in request.app[CONFIG].identity.modes:
        raise NotFound("This gateway does not accept API tokens, so nobody can sign in.")
    signed_in = await request.app[IDENTITY].sign_ins.exchange(body.link)
    if signed_in is None:
        throttle.failed(client)
        raise SignInLinkGone
    request[SIGNED_IN] = signed_in.cookie, BROWSER_SECONDS
    token = signed_in.token
    logger.info("browser signed in by a link", extra={"token": token.id, "user": token.user_id})
    shown = shapes.SignedIn(token=signed_in.text, user_id=token.user_id, expires_at=token.expires_at)
    return views.answer(shown, status=201, headers={"Cache-Control": "no-store"})


async def leave(request: web.Request) -> web.Response:
    """Sign this browser out: its API token is revoked at once."""
    await read_body(request, NoBody)
    token_id = request[CALLER].token_id
    if token_id is None or not await request.app[IDENTITY].sign_ins.end(token_id):
        raise NotFound("This request does not use a sign-in link's token, so there is nothing to sign out of.")
    request.app[IDENTITY].access_monitor.look_now()
    request[SIGNED_IN] = "", 0
    return web.Response(status=204)
