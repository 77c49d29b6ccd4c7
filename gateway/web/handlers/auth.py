"""Accounts for agents: begin and complete logins, store keys, disconnect accounts."""

import re
from contextlib import suppress
from datetime import UTC, datetime

import attrs
from aiohttp import web

from gateway.administration.room import ADMINISTRATION
from gateway.agenthost.catalogue import canonical, has_aliases
from gateway.container.room import CONTAINERS
from gateway.credentials.room import CREDENTIALS
from gateway.errors import (
    AgentNotFound,
    InvalidBody,
    LoginRefused,
    LoginUnreadable,
    ProviderMisconfigured,
    UpstreamError,
)
from gateway.identity.roles import Role
from gateway.oauth.pending import AGENTS_OWN, AUTHORIZED, LOGIN_SECONDS, For, Login
from gateway.oauth.protocol.answers import is_web_address
from gateway.oauth.protocol.callbacks import Callback, UnreadableCallback
from gateway.oauth.protocol.pasted import checked, kind_of
from gateway.oauth.protocol.provider import PROJECT_CALLBACK, Provider
from gateway.oauth.protocol.replies import presentable, seconds
from gateway.oauth.room import OAUTH
from gateway.oauth.ways import Way, chosen, ways_for
from gateway.web.destination import DESTINATION
from gateway.web.handlers import accounts, shapes, views
from gateway.web.handlers.parameters import AFTER
from gateway.web.handlers.requests import NoBody, known_place, page_size, read_body, telling_refusals, text
from gateway.web.keys import CALLER, CONFIG, PROJECT, ROLE, TASKS, USER
from gateway.wire.times import parse_timestamp

_PROVIDER_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@attrs.frozen(kw_only=True)
class StartBody:
    """Body of ``POST …/auth/start``: which flow and provider, if there are several."""

    flow: str | None = None
    provider: str | None = None


@attrs.frozen(kw_only=True)
class CallbackBody:
    """Body of ``POST …/auth/callback``: what the user pasted; a client may send state and issuer separately."""

    code: str = attrs.field(repr=False)
    state: str | None = attrs.field(default=None, repr=False)
    iss: str | None = None


@attrs.frozen(kw_only=True)
class TokenBody:
    """Body of ``POST …/auth/token``: an API key or token, and optional facts about it."""

    token: str = attrs.field(repr=False)
    token_type: str | None = None
    provider: str | None = None
    expires_at: str | None = None


async def start(request: web.Request) -> web.Response:
    """Begin a login; the response says what the user must do."""
    body = await read_body(request, StartBody)
    whose = await _whose(request)
    way = chosen(await _ways(request, whose), flow=body.flow, provider_id=body.provider)
    if way.provider is not None:
        work = request.app[OAUTH].logins.begin(
            whose,
            way.provider,
            way.flow,
            redirect_uri=_redirect_uri(request, way.provider, whose),
            token_id=request[CALLER].token_id,
        )
        begun = await request.app[TASKS].complete(work, name="begin login")
        return views.answer(accounts.begun(begun), headers=accounts.NO_STORE)
    if way.flow == AGENTS_OWN:
        return await _start_agents_own(request, whose)
    return views.answer(accounts.asks(way, token_url=_path(request, "token")))


async def status(request: web.Request) -> web.Response:
    """The state of the caller's login and account for this agent."""
    return await _status(request)


async def callback(request: web.Request) -> web.Response:
    """Complete a login with what the user pasted: a code, code#state, or the whole address."""
    body = await read_body(request, CallbackBody)
    whose = await _whose(request)
    try:
        brought = Callback.of_pasted(body.code)
    except UnreadableCallback as exc:
        raise LoginUnreadable(f"$.code: {exc}.") from exc
    if body.state is not None:
        if brought.state not in (None, body.state):
            raise LoginUnreadable("$.state: differs from the state in $.code.")
        brought = attrs.evolve(brought, state=body.state)
    if body.iss is not None:
        brought = attrs.evolve(brought, iss=body.iss)
    newest = await request.app[OAUTH].logins.pending.newest(whose.user_id, whose.agent_id)
    if newest is not None and newest.is_live and newest.flow == AGENTS_OWN and newest.whose == whose:
        return await _finish_agents_own(request, newest, body.code.strip())
    await request.app[TASKS].complete(request.app[OAUTH].logins.paste(whose, brought), name="complete login")
    return await _status(request)


async def token(request: web.Request) -> web.Response:
    """Store an API key or token of the caller's."""
    body = await read_body(request, TokenBody)
    whose = await _whose(request)
    kinds, known_as = await _kinds(request, whose), canonical(whose.agent_id)
    token_type = kind_of(known_as, body.token, body.token_type, kinds)
    secret = checked(known_as, token_type, body.token)
    if body.provider is not None and not _PROVIDER_WORD.fullmatch(body.provider):
        raise InvalidBody("$.provider: must be a name such as anthropic or openai")
    expires_at = _expires_at(body.expires_at)
    await request.app[ADMINISTRATION].accounts.keep(
        whose, token_type=token_type, secret=secret, provider_id=body.provider, expires_at=expires_at
    )
    return await _status(request)


async def disconnect(request: web.Request) -> web.Response:
    """Disconnect the account: deleted here at once, and revoked at its provider if that is supported."""
    await read_body(request, NoBody)
    whose = await _named(request)
    if await request.app[CREDENTIALS].store.get_agent_auth_token(whose.user_id, whose.agent_id) is None:
        # The agent may be gone if there is an account, else it must exist.
        await _whose(request)
    done = await request.app[ADMINISTRATION].accounts.disconnect(whose)
    return views.answer(accounts.disconnected(whose.agent_id, done))


async def list_credentials(request: web.Request) -> web.Response:
    """The caller's own credentials for all agents, with fingerprints in place of secrets."""
    size, after, store = page_size(request), text(request, AFTER), request.app[CREDENTIALS].store
    if after is not None:
        await known_place(store.get_agent_auth_token(request[USER], after))
    found = await store.page(request[USER], after=after, limit=size + 1)
    page, after = views.listed([accounts.credential(one) for one in found], size)
    return views.answer(shapes.CredentialPage(credentials=page, next=after))


async def _status(request: web.Request) -> web.Response:
    whose = await _whose(request)
    login = await request.app[OAUTH].logins.pending.newest(whose.user_id, whose.agent_id)
    message = None
    if login is not None and login.flow == AGENTS_OWN and login.is_live:
        login, message = await _look_at_agents_own(request, login)
    known = await request.app[CREDENTIALS].store.get_agent_auth_token(whose.user_id, whose.agent_id)
    shown = accounts.status(whose.agent_id, known, login, await _ways(request, whose))
    if shown.login is not None and message is not None:
        shown = attrs.evolve(shown, login=attrs.evolve(shown.login, message=message))
    if shown.login is not None and not _may_connect(request):
        # The person who enters the code decides which account is connected.
        shown = attrs.evolve(shown, login=accounts.without_code(shown.login))
    return views.answer(shown, headers=accounts.NO_STORE)


async def _start_agents_own(request: web.Request, whose: For) -> web.Response:
    agent = await request.app[CONTAINERS].agent(request[PROJECT], whose.agent_id)
    with telling_refusals():
        said = await request.app[CONTAINERS].of(request[PROJECT]).begin_auth(agent.id)
    url, code = said.get("authUrl"), said.get("userCode")
    login = await request.app[OAUTH].logins.pending.begin(
        whose,
        provider_id=AGENTS_OWN,
        flow=AGENTS_OWN,
        lasts=min(seconds(said.get("expiresIn")) or LOGIN_SECONDS, 3600.0),
        verification_uri=url if is_web_address(url) else None,
        user_code=_code(code) if isinstance(code, str) else None,
        token_id=request[CALLER].token_id,
    )
    message = said.get("message")
    shown = accounts.agents_own(login, presentable(message) if isinstance(message, str) else None)
    return views.answer(shown, headers=accounts.NO_STORE)


async def _finish_agents_own(request: web.Request, login: Login, brought: str) -> web.Response:
    with telling_refusals():
        await request.app[CONTAINERS].of(request[PROJECT]).give_token(login.agent_id, brought)
    await request.app[OAUTH].logins.pending.end(login, AUTHORIZED)
    return await _status(request)


async def _look_at_agents_own(request: web.Request, login: Login) -> tuple[Login, str | None]:
    """Ask the container what has become of its own login; and what its person is to read, if it goes on."""
    if login.project_id != request[PROJECT].id:
        return login, None
    logins = request.app[OAUTH].logins
    found = await request.app[CONTAINERS].of(request[PROJECT]).login_state(login.agent_id)
    if found.is_done:
        return await logins.pending.end(login, AUTHORIZED) or login, None
    if found.error is not None:
        work = logins.fail(login, LoginRefused(presentable(found.error)))
        await request.app[TASKS].complete(work, name="end login")
        return await logins.pending.newest(login.user_id, login.agent_id) or login, None
    # An agent may show address and code only after a while, or others later.
    if is_web_address(found.address):
        login = attrs.evolve(login, verification_uri=found.address)
    if found.code is not None:
        login = attrs.evolve(login, user_code=_code(found.code))
    return login, None if found.message is None else presentable(found.message)


async def _whose(request: web.Request) -> For:
    """User and agent; the agent must have known credentials or providers, or exist in the container."""
    whose = await _named(request)
    kinds = request.app[CREDENTIALS].store.kinds_for_agent(whose.agent_id)
    known = kinds or request.app[OAUTH].providers.serving(whose.agent_id)
    # A token that is limited to projects sees only agents of those.
    if not known or request[CALLER].projects is not None:
        await request.app[CONTAINERS].listed(request[PROJECT], whose.agent_id)
    return whose


def _code(text: str) -> str:
    """A container's code for a person to enter."""
    return presentable(text)[:64]


def _may_connect(request: web.Request) -> bool:
    """Whether the caller may change accounts here."""
    return request[ROLE] >= Role.OPERATOR and request[CALLER].projects is None


async def _named(request: web.Request) -> For:
    """The user and the agent, by the name that its container has for it."""
    agent_id = request.match_info["agent_id"]
    if has_aliases(agent_id):
        with suppress(AgentNotFound, UpstreamError):
            agent_id = (await request.app[CONTAINERS].listed(request[PROJECT], agent_id)).id
    return For(user_id=request[USER], project_id=request[PROJECT].id, agent_id=agent_id)


async def _kinds(request: web.Request, whose: For) -> list[str]:
    """The kinds of credential that the agent takes, as this gateway knows or the container lists."""
    store = request.app[CREDENTIALS].store
    if kinds := store.kinds_for_agent(whose.agent_id):
        return kinds
    return store.kinds_for_agent(
        whose.agent_id, await request.app[CONTAINERS].declared(request[PROJECT].id, whose.agent_id)
    )


async def _ways(request: web.Request, whose: For) -> list[Way]:
    providers = request.app[OAUTH].providers.serving(whose.agent_id)
    return ways_for(canonical(whose.agent_id), providers, await _kinds(request, whose))


def _path(request: web.Request, name: str) -> str:
    """The path of another endpoint of the same agent."""
    return f"{request.rel_url.raw_path.rpartition('/')[0]}/{name}"


def _redirect_uri(request: web.Request, provider: Provider, whose: For) -> str:
    """Where the provider sends the browser: each provider has its own registered address."""
    if provider.pastes:
        return provider.redirect_uri
    base = request.app[CONFIG].server.public_url or _own_address(request)
    if provider.redirect_mode == PROJECT_CALLBACK:
        return base + _path(request, "callback")
    return f"{base}/api/oauth/callback/{provider.id}"


def _own_address(request: web.Request) -> str:
    """The address that the caller has used, if it is this machine's."""
    asked = request[DESTINATION].asked
    if asked.host is None or not asked.is_here:
        raise ProviderMisconfigured(
            "This gateway does not know its own address in browsers: its operator must set server.public_url."
        )
    return f"{request.scheme}://{asked.host}"


def _expires_at(text: str | None) -> datetime | None:
    if text is None:
        return None
    at = parse_timestamp(text)
    if at is None or at <= datetime.now(UTC):
        raise InvalidBody("$.expiresAt: must be a time in the future, such as 2027-11-22T18:23:15Z")
    return at
