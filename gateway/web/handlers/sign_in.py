"""Signing a browser in by a link that is good once, and out again."""

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
    """What ``POST /api/sign-in`` takes: what stands behind ``#sign-in=`` of the link."""

    link: str = attrs.field(repr=False)


async def enter(request: web.Request) -> web.Response:
    """An API token for the browser that has the link, which opens together with the cookie that comes with it."""
    throttle = request.app[IDENTITY].throttle
    client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
    # Ahead of the body: a link is good once, so there is none that is known to be good.
    throttle.check(client, "")
    body = await read_body(request, SignInBody)
    if Tokens.name not in request.app[CONFIG].identity.modes:
        raise NotFound("Nobody is signed in here: this gateway takes no API tokens.")
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
    """Sign this browser out: the API token that it was given ends at once."""
    await read_body(request, NoBody)
    token_id = request[CALLER].token_id
    if token_id is None or not await request.app[IDENTITY].sign_ins.end(token_id):
        raise NotFound("You have not come by a sign-in link: there is nothing to end here.")
    request.app[IDENTITY].access_monitor.look_now()
    request[SIGNED_IN] = "", 0
    return web.Response(status=204)
