"""The browser's return from a provider: it brings the code, and is redirected to a page without it.

The address with the code is never shown. The login's state tells whose login it is. If the gateway cannot tell that the
browser belongs to the same user, the page asks first: otherwise attackers could send victims through a login of the
attackers' own and get the victims' accounts.
"""

from contextlib import AbstractContextManager
from urllib.parse import parse_qsl, quote

from aiohttp import hdrs, web

from gateway.errors import (
    BodyTooLarge,
    Forbidden,
    GatewayError,
    LoginUnknown,
    LoginUnreadable,
    RequestStalled,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)
from gateway.identity.caller import Caller, Presented
from gateway.identity.roles import Role
from gateway.identity.room import IDENTITY
from gateway.oauth.pending import ARRIVED, AUTHORIZED, Login
from gateway.oauth.protocol.callbacks import Callback, UnreadableCallback
from gateway.oauth.room import OAUTH
from gateway.web.destination import DESTINATION
from gateway.web.handlers import accounts
from gateway.web.handlers.login_page import page, question
from gateway.web.handlers.requests import MAX_STRANGERS_BODY, read_raw
from gateway.web.keys import CHANGED, TASKS, Changed
from gateway.wire.media import media_type


async def arrive(request: web.Request) -> web.Response:
    """A provider sends a browser back."""
    if request.method == hdrs.METH_HEAD or "prefetch" in request.headers.get("Sec-Purpose", ""):
        # A prefetch must not complete the login.
        return web.Response(status=204)
    try:
        brought = _brought(request)
        with _guarded(request, brought.state or ""):
            caller = await _caller(request)
            arriving = request.app[OAUTH].logins.arrive(brought, path=request.rel_url.raw_path, caller=caller)
            arrival = await request.app[TASKS].complete(arriving, name="complete login")
    except TooManyRequests:
        raise
    except GatewayError as exc:
        return _sent_on(request, f"problem/{exc.code}")
    _has_changed(request, arrival.login)
    return _sent_on(request, f"login/{arrival.page_ticket}")


async def show(request: web.Request) -> web.Response:
    """The state of a login, or the question whether it is the user's own."""
    try:
        login = await _of_page(request)
    except LoginUnknown:
        return page(404, "This page has expired", "The gateway shows the state of your login.")
    provider = request.app[OAUTH].providers.get(login.provider_id)
    name = provider.name if provider else login.provider_id
    if login.state == ARRIVED and login.is_live:
        return question(name, user_id=login.user_id, agent_id=login.agent_id, project_id=login.project_id)
    return _told(login, name)


async def answer(request: web.Request) -> web.Response:
    """The user's answer whether the login is theirs."""
    if media_type(request.headers.get(hdrs.CONTENT_TYPE)) != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("This takes the form that its own page sends.")
    logins, ticket = request.app[OAUTH].logins, request.match_info["ticket"]
    try:
        # Before the body is read, so that guesses at tickets cost little.
        await _of_page(request)
        form = dict(parse_qsl((await read_raw(request, MAX_STRANGERS_BODY)).decode("ascii", "replace")))
        work = logins.confirm(ticket) if form.get("answer") == "yes" else logins.decline(ticket)
        login = await request.app[TASKS].complete(work, name="complete login")
    except (BodyTooLarge, RequestStalled, TooManyRequests):
        raise
    except GatewayError as exc:
        return _sent_on(request, f"problem/{exc.code}")
    if login is not None:
        _has_changed(request, login)
    return _sent_on(request, f"login/{quote(ticket, safe='')}")


async def problem(request: web.Request) -> web.Response:
    """The error of a response that belongs to no login; none of its content is shown."""
    code = request.match_info["code"]
    title = accounts.titles().get(code, LoginUnknown.title())
    return page(400, "The login was not completed", f"{title} Begin it again in the gateway.")


def _has_changed(request: web.Request, login: Login) -> None:
    """For the audit, since these paths name neither project nor user."""
    request[CHANGED] = Changed(project_id=login.project_id, user_id=login.user_id)


async def _of_page(request: web.Request) -> Login:
    """The login of the page's ticket, or ``LoginUnknown``."""
    ticket = request.match_info["ticket"]
    with _guarded(request, ticket):
        login = await request.app[OAUTH].logins.pending.by_page(ticket)
        if login is None:
            raise LoginUnknown()
    return login


def _guarded(request: web.Request, secret: str) -> AbstractContextManager[None]:
    """Throttles guesses at secrets: these routes need no authentication."""
    client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
    return request.app[IDENTITY].throttle.guarding(client, secret, wrong=LoginUnknown)


def _told(login: Login, name: str) -> web.Response:
    if login.state == AUTHORIZED:
        return page(200, f"{name} is connected", f"{login.agent_id} can use your account now. You can close this page.")
    if login.is_live:
        return page(200, "One moment", f"Your login at {name} is being completed. Load this page again.")
    code = login.code or "login_expired"
    title = accounts.titles().get(code, "The login could not be completed.")
    return page(200, f"{name} is not connected", *filter(None, (title, login.detail)))


def _brought(request: web.Request) -> Callback:
    try:
        pairs = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, max_num_fields=50)
        return Callback.of_query(pairs)
    except (UnreadableCallback, ValueError) as exc:
        raise LoginUnreadable() from exc


async def _caller(request: web.Request) -> Caller | None:
    """The browser's user, if it is authenticated and may connect accounts."""
    presented = Presented(headers=request.headers, peer=request.remote, to_loopback=request[DESTINATION].asked.is_here)
    try:
        caller = await request.app[IDENTITY].identity.identify(presented)
        caller.check_reach(Role.OPERATOR)
    except (Unauthenticated, Forbidden):
        return None
    return caller


def _sent_on(request: web.Request, place: str) -> web.Response:
    """Redirect to ``/api/oauth/<place>``, relative, for proxies that strip a prefix."""
    ups = "../" * (request.rel_url.raw_path.count("/") - 2)
    headers = {
        hdrs.LOCATION: f"{ups}oauth/{place}",
        hdrs.CACHE_CONTROL: "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(status=303, headers=headers)
