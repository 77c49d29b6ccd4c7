"""Logging in at a provider, from the first word to the tokens in the store."""

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import attrs

from gateway.credentials.store import OAUTH, AgentAuthToken, Credentials
from gateway.db.retry import retry_until_stored
from gateway.errors import (
    GatewayError,
    LoginAmbiguous,
    LoginError,
    LoginExpired,
    LoginIssuerMismatch,
    LoginNotPending,
    LoginSuperseded,
    LoginUnknown,
    ProviderError,
    ProviderMisconfigured,
)
from gateway.identity.caller import LOCAL_USER, Caller
from gateway.identity.local import LocalMode
from gateway.oauth.configured import Providers
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.news import News
from gateway.oauth.pending import ARRIVED, EXCHANGING, LOGIN_SECONDS, PENDING, For, Login, PendingLogins
from gateway.oauth.protocol import openai_device, requests
from gateway.oauth.protocol.answers import device_answer, openai_device_answer, token_answer
from gateway.oauth.protocol.callbacks import Callback
from gateway.oauth.protocol.outcomes import DeviceGranted, Failure, Granted, Malformed, Refused, Waiting
from gateway.oauth.protocol.pkce import Verifier, new_state
from gateway.oauth.protocol.provider import OPENAI_DEVICE, PKCE, Provider
from gateway.oauth.protocol.replies import presentable
from gateway.oauth.protocol.requests import Request
from gateway.oauth.protocol.verdicts import outcome_of, verdict
from gateway.oauth.renewals import STORE_SECONDS
from gateway.oauth.revoke import Revocation
from gateway.wire.events import CredentialConnected, LoginEnded
from gateway.wire.times import timestamp

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(kw_only=True)
class Begun:
    """A login that waits for its person. ``authorize_url``: where they go, for a login in the browser."""

    login: Login
    provider: Provider
    authorize_url: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Arrival:
    """A login whose answer a browser has brought, and the ticket of the page that tells of it."""

    login: Login
    page_ticket: str = attrs.field(repr=False)


class Logins:
    """Begins logins and brings them to their end. What has a secret under way is run in a task no client can cancel."""

    def __init__(
        self,
        pending: PendingLogins,
        credentials: Credentials,
        providers: Providers,
        discovery: Discovery,
        edge: Edge,
        news: News,
        revocation: Revocation,
        *,
        clock: Clock = _now,
    ) -> None:
        self.pending = pending
        self._credentials = credentials
        self._providers = providers
        self._discovery = discovery
        self._edge = edge
        self._news = news
        self._revocation = revocation
        self._clock = clock

    async def begin(
        self, whose: For, provider: Provider, flow: str, *, redirect_uri: str, token_id: str | None = None
    ) -> Begun:
        """Begin a login; the person's former one for this agent ends. ``redirect_uri``: where a browser is to end."""
        provider = await self._discovery.completed(provider)
        if flow == PKCE:
            return await self._begin_in_browser(whose, provider, redirect_uri, token_id)
        return await self._begin_with_code(whose, provider, flow, token_id)

    async def _begin_in_browser(self, whose: For, provider: Provider, redirect_uri: str, token_id: str | None) -> Begun:
        state, verifier = new_state(), Verifier.new()
        login = await self.pending.begin(
            whose,
            provider_id=provider.id,
            flow=PKCE,
            scopes=provider.scopes,
            lasts=LOGIN_SECONDS,
            state=state,
            verifier=verifier.value,
            redirect_uri=redirect_uri,
            token_id=token_id,
        )
        url = requests.authorize_url(
            provider, redirect_uri=redirect_uri, state=state, verifier=verifier, scopes=provider.scopes
        )
        return Begun(login=login, provider=provider, authorize_url=url)

    async def _begin_with_code(self, whose: For, provider: Provider, flow: str, token_id: str | None) -> Begun:
        device: DeviceGranted | Failure
        if flow == OPENAI_DEVICE:
            request = openai_device.begin(provider)
            device = openai_device_answer(await self._edge.send(request), provider, secrets=request.secrets)
        else:
            if not provider.device_url:
                raise ProviderMisconfigured(f"{provider.name} has no endpoint for logins with a code.")
            request = requests.device_authorization(provider, scopes=provider.scopes)
            device = device_answer(await self._edge.send(request), secrets=request.secrets)
        if not isinstance(device, DeviceGranted):
            raise verdict(device, provider)
        login = await self.pending.begin(
            whose,
            provider_id=provider.id,
            flow=flow,
            scopes=provider.scopes,
            lasts=device.expires_in,
            device=device,
            token_id=token_id,
        )
        return Begun(login=login, provider=provider)

    async def arrive(self, callback: Callback, *, path: str, caller: Caller | None) -> Arrival:
        """A browser has come back from the provider, to ``path``; ``caller``: whose browser it is, if it is known.

        Anybody can be sent through a login that somebody else began, and would give them their account. So a browser
        that nobody knows only brings the code; its person says on the page that this is their login.
        """
        login = await self._of_state(callback)
        if not urlsplit(login.redirect_uri or "").path.endswith(path):
            # An answer that comes to another provider's address, or another project's, is none to this login.
            raise LoginUnknown("This answer belongs to another login, or to another provider.")
        user_id = _user_of(caller, login)
        if user_id not in (None, login.user_id):
            raise LoginUnknown("This login was begun by somebody else; begin one of your own.")
        _must_wait(login)
        ticket = secrets.token_urlsafe(24)
        try:
            code = await self._checked(login, callback, page_ticket=ticket)
        except (LoginError, ProviderError):
            # It has ended, and the page tells how.
            return Arrival(login=login, page_ticket=ticket)
        if user_id is None:
            taken = await self._take(login, ARRIVED, code=code, page_ticket=ticket)
            return Arrival(login=taken, page_ticket=ticket)
        taken = await self._take(login, EXCHANGING, page_ticket=ticket)
        try:
            await self._exchange(taken, code, callback.state)
        except GatewayError as exc:
            # The page tells it.
            logger.info("login failed", extra={"login": login.id, "code": exc.code})
        return Arrival(login=taken, page_ticket=ticket)

    async def confirm(self, page_ticket: str) -> Login | None:
        """The person in front of a browser that nobody knew says that the login is theirs. None: it waits no more."""
        login = await self.pending.by_page(page_ticket)
        if login is None:
            raise LoginUnknown()
        if login.state != ARRIVED:
            return None
        taken = await self._take(login, EXCHANGING)
        code = self.pending.open_code(login)
        assert code is not None
        try:
            await self._exchange(taken, code, None)
        except GatewayError as exc:
            logger.info("login failed", extra={"login": login.id, "code": exc.code})
        return login

    async def decline(self, page_ticket: str) -> Login | None:
        """They say that it is not."""
        login = await self.pending.by_page(page_ticket)
        if login is None or login.state != ARRIVED:
            return None
        detail = "Somebody who was sent to the provider said that this is not their login."
        await self.pending.end(login, "denied", code="login_denied", detail=detail)
        return login

    async def paste(self, whose: For, callback: Callback) -> AgentAuthToken:
        """What a person brought back themselves: the code, and the state where they have it."""
        login = await self._of_paste(whose, callback)
        _must_wait(login)
        code = await self._checked(login, callback)
        return await self._exchange(await self._take(login, EXCHANGING), code, callback.state)

    async def finish(self, login: Login, granted: Granted, provider: Provider) -> AgentAuthToken:
        """The tokens of a login that has come to its end."""
        token = await retry_until_stored(lambda: self._stored(login, granted, provider), seconds=STORE_SECONDS)
        if token is None:
            await self._revocation.store_unused(provider, granted.access_token, granted.refresh_token)
            raise LoginSuperseded("The login was cancelled, or another one was begun; nothing was stored.")
        await self.tell_connected(token, project_id=login.project_id)
        return token

    async def _stored(self, login: Login, granted: Granted, provider: Provider) -> AgentAuthToken | None:
        """The credential, with which the login has ended; None where that has ended otherwise. Harmless to repeat."""
        token = await self.pending.authorize(
            login,
            lambda transaction: self._credentials.save_agent_auth_token(
                login.user_id,
                login.agent_id,
                token_type=OAUTH,
                access_token=granted.access_token,
                refresh_token=granted.refresh_token,
                provider_id=provider.id,
                subject=granted.subject,
                scopes=login.scopes if granted.scopes is None else granted.scopes,
                expires_at=granted.expires_at,
                refresh_expires_at=granted.refresh_expires_at,
                within=transaction,
            ),
        )
        if token is not None:
            return token
        # The try before this one may have been committed, and the database lost before it could say so.
        known = await self._credentials.get_agent_auth_token(login.user_id, login.agent_id)
        if known is None:
            return None
        opened = self._credentials.open_access_token(known)
        return known if secrets.compare_digest(opened.encode(), granted.access_token.encode()) else None

    async def tell_connected(self, token: AgentAuthToken, *, project_id: str) -> None:
        told = CredentialConnected(
            user_id=token.user_id,
            token_type=token.token_type,
            provider=token.provider_id,
            scopes=token.scopes,
            expires_at=timestamp(token.expires_at) if token.expires_at else None,
        )
        key = f"credential:{token.agent_id}:{token.version}"
        await self._news.tell(token.user_id, token.agent_id, told, key=key, project_id=project_id)

    async def fail(self, login: Login, error: GatewayError, *, page_ticket: str | None = None) -> None:
        """A login has ended without an account."""
        outcome, detail = outcome_of(error), error.detail or error.title()
        ended = await retry_until_stored(
            lambda: self.pending.end(login, outcome, code=error.code, detail=detail, page_ticket=page_ticket),
            seconds=STORE_SECONDS,
        )
        if ended is None:
            return
        told = LoginEnded(
            user_id=login.user_id, provider=login.provider_id, outcome=outcome, code=error.code, message=detail
        )
        # Only where it was begun: to all others nothing has changed.
        await self._news.tell_in(login.project_id, login.agent_id, told, key=f"login:{login.id}")

    async def _of_state(self, callback: Callback) -> Login:
        if callback.state is None:
            detail = "The answer does not say which login it belongs to"
            if callback.error is not None:
                detail += f"; the provider says: {presentable(callback.error)}"
            raise LoginUnknown(f"{detail}. Begin the login again.")
        login = await self.pending.by_state(callback.state)
        if login is None:
            raise LoginUnknown("This login is not known here; begin it again.")
        return login

    async def _of_paste(self, whose: For, callback: Callback) -> Login:
        if callback.state is not None:
            login = await self._of_state(callback)
            if login.whose != whose:
                # Somebody else's, as if it were not there; or one's own, brought to another agent or project.
                mine = login.user_id == whose.user_id
                detail = "This answer belongs to another of your logins; paste it there." if mine else None
                raise LoginUnknown(detail)
            return login
        waiting = await self.pending.waiting_for_code(whose.user_id)
        mine_here = [login for login in waiting if login.whose == whose]
        if not mine_here:
            raise LoginNotPending("No login of yours waits for a code here; begin one with auth/start.")
        if len(waiting) > 1:
            raise LoginAmbiguous(
                "You have more than one login under way, and a code alone does not say which it is of; paste the whole "
                "address, or code#state."
            )
        return mine_here[0]

    async def _checked(self, login: Login, callback: Callback, *, page_ticket: str | None = None) -> str:
        """The code of an answer that is this provider's; an answer of any other kind ends the login, and is raised."""
        provider = await self._provider(login)
        error = _issuer_flaw(callback, provider)
        if error is None and callback.error is not None:
            described = presentable(callback.error_description, [callback.state or ""])
            error = verdict(Refused(error=presentable(callback.error), description=described), provider)
        if error is not None:
            await self.fail(login, error, page_ticket=page_ticket)
            raise error
        assert callback.code is not None
        return callback.code

    async def _take(
        self, login: Login, state: str, *, code: str | None = None, page_ticket: str | None = None
    ) -> Login:
        taken = await self.pending.take(login, state, code=code, page_ticket=page_ticket)
        if taken is None:
            raise LoginUnknown("This login is being completed already, or has been.")
        return taken

    async def _exchange(self, login: Login, code: str, state: str | None) -> AgentAuthToken:
        try:
            provider = await self._provider(login)
            verifier = self.pending.open_verifier(login)
            return await self.exchange(login, provider, code=code, verifier=verifier, state=state)
        except GatewayError as exc:
            await self.fail(login, exc)
            raise

    async def exchange(
        self,
        login: Login,
        provider: Provider,
        *,
        code: str,
        verifier: str | None,
        state: str | None = None,
        redirect_uri: str | None = None,
    ) -> AgentAuthToken:
        """The code for tokens, and those into the store. The code is used up whatever comes of it."""
        request = requests.exchange(
            provider,
            code=code,
            verifier=verifier,
            redirect_uri=redirect_uri or login.redirect_uri or "",
            state=state,
        )
        answer = await self._ask(request, provider)
        if isinstance(answer, Waiting):
            answer = Malformed(reason="the provider says to wait where it is to give tokens")
        if not isinstance(answer, Granted):
            raise verdict(answer, provider)
        return await self.finish(login, answer, provider)

    async def _ask(self, request: Request, provider: Provider) -> Granted | Waiting | Failure:
        return token_answer(await self._edge.send(request), provider, now=self._clock(), secrets=request.secrets)

    async def _provider(self, login: Login) -> Provider:
        provider = self._providers.get(login.provider_id)
        if provider is None:
            raise ProviderMisconfigured(f"The provider {login.provider_id!r} is not configured any more.")
        return await self._discovery.completed(provider)


def _user_of(caller: Caller | None, login: Login) -> str | None:
    """Whose browser it is, for this login. Every browser of this machine is the local user's, whoever sits there."""
    if caller is None or (caller.mode == LocalMode.name and login.user_id != LOCAL_USER):
        return None
    return caller.user_id


def _issuer_flaw(callback: Callback, provider: Provider) -> GatewayError | None:
    """RFC 9207 2.4: compared as strings; an answer of another issuer is never used, an error of one neither."""
    if callback.iss is None:
        if provider.require_iss:
            return LoginIssuerMismatch(f"{provider.name} says who it is in each answer, and this one does not.")
        return None
    if provider.issuer and callback.iss != provider.issuer:
        return LoginIssuerMismatch(
            f"The answer says that it is of {presentable(callback.iss)!r}, and {provider.issuer!r} was asked."
        )
    return None


def _must_wait(login: Login) -> None:
    """Refuse an answer to a login that waits for none any more."""
    if login.state == "superseded":
        raise LoginSuperseded("This login was cancelled, or another one was begun after it.")
    if login.state == "expired" or (login.state == PENDING and login.expires_at <= login.now):
        raise LoginExpired("This login was begun too long ago; begin it again.")
    if login.state != PENDING:
        raise LoginUnknown("This login has been completed already, or has failed.")
