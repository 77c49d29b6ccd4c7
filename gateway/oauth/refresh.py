"""Credentials kept fresh. The gateway alone renews them, one at a time for each, over all replicas.

Providers that rotate refresh tokens take one that comes a second time for stolen and end all that they gave. So whoever
renews holds a lease; what is written is written only over what was read; and the new refresh token is in the database
before anybody uses the access token that came with it. Where a provider may have answered and nobody heard it, the next
try tells: it is renewed, or it is over and a person is told why.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gateway.credentials.store import NEEDS_REAUTH, AgentAuthToken, Credentials
from gateway.db.due import Driver
from gateway.db.pool import Database
from gateway.db.retry import retry_until_stored
from gateway.errors import AuthRequired, GatewayError, ProviderUnavailable, ReauthRequired
from gateway.oauth.configured import Providers
from gateway.oauth.discovery import Discovery
from gateway.oauth.due import backoff, due_at
from gateway.oauth.edge import Edge
from gateway.oauth.news import News
from gateway.oauth.protocol import requests
from gateway.oauth.protocol.answers import token_answer
from gateway.oauth.protocol.outcomes import Failure, Granted, Malformed, Refused, Unavailable, Waiting
from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.verdicts import OPERATORS
from gateway.oauth.renewals import STORE_SECONDS, Hold, Renewals
from gateway.oauth.revoke import Revocation
from gateway.tasks import Tasks, wait_for
from gateway.wire.events import CredentialNeedsReauth, CredentialRenewed
from gateway.wire.times import timestamp

logger = logging.getLogger(__name__)

REVIEW_SECONDS, REVIEW_LIMIT, AT_ONCE = 10.0, 50, 5
#: How long who needs a credential waits for the gateway that renews it.
WAIT_SECONDS = 30.0
LOST, REFUSED, ACCOUNT_CHANGED, EXPIRED = "lost", "refused", "account_changed", "expired"

Hook = Callable[[str, str], Coroutine[Any, Any, None]]


class _Changed(Exception):
    """The credential is another one by now."""


class Refresher:
    """Gives credentials that can be used now, renews those that end soon. Its owner runs ``run`` in a task."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        providers: Providers,
        discovery: Discovery,
        edge: Edge,
        news: News,
        revocation: Revocation,
        *,
        holder: str,
        timeout: float,
        count: Callable[[str], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``holder`` is unique for a process; ``timeout`` is how long a provider may take.

        ``count`` is told how each try ended: renewed, postponed, or what the credential needs its person for.
        """
        self._database = database
        self._credentials = credentials
        self._providers = providers
        self._discovery = discovery
        self._edge = edge
        self._news = news
        self._revocation = revocation
        self._renewals = Renewals(database, holder=holder, seconds=2 * timeout + STORE_SECONDS)
        self._timeout = timeout
        self._count = count
        self._clock = clock
        self._driver = Driver()
        self._few = asyncio.Semaphore(AT_ONCE)
        self._tasks = Tasks()
        self._running: dict[tuple[str, str], asyncio.Task[AgentAuthToken | GatewayError]] = {}
        self._hooks: list[Hook] = []
        self._skew = max((provider.expiry.skew for provider in providers), default=60.0)

    def on_renewed(self, hook: Hook) -> None:
        """Have ``hook(user_id, agent_id)`` called, in a task of its own, once a credential has been renewed here."""
        self._hooks.append(hook)

    async def fresh(self, user_id: str, agent_id: str) -> AgentAuthToken:
        """The user's credential for the agent, renewed if it is due.

        Raises ``AuthRequired`` where there is none, ``ReauthRequired`` where only a person can renew it, and
        ``ProviderUnavailable`` where it has ended and cannot be renewed right now.
        """
        token = await self._current(user_id, agent_id)
        if not self._is_due(token):
            return token
        key = (user_id, agent_id)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = self._tasks.start(self._outcome(user_id, agent_id), name=f"renew {agent_id}")
            task.add_done_callback(lambda _: self._running.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def run(self) -> None:
        """Renew what ends soon, until cancelled."""
        await self._driver.run({"renewal": self._review}, seconds=REVIEW_SECONDS)

    async def close(self) -> None:
        """Let what is under way end: a provider's answer that nobody hears is an account lost."""
        await self._driver.close()
        await self._tasks.close(grace=self._timeout)

    async def _review(self) -> None:
        rows = await self._database.fetch_all("list_due_credentials", skew=self._skew, limit=REVIEW_LIMIT)
        for user_id, agent_id in [(row["user_id"], row["agent_id"]) for row in rows]:
            self._driver.do(f"renew {agent_id} of {user_id}", partial(self._keep_fresh, user_id, agent_id))

    async def _keep_fresh(self, user_id: str, agent_id: str) -> None:
        async with self._few:
            try:
                await self.fresh(user_id, agent_id)
            except GatewayError as exc:
                logger.info("credential not renewed", extra={"agent": agent_id, "error": str(exc)})

    async def _current(self, user_id: str, agent_id: str) -> AgentAuthToken:
        token = await self._credentials.get_agent_auth_token(user_id, agent_id)
        if token is None:
            raise AuthRequired(f"You have connected no account for {agent_id}.")
        if token.state == NEEDS_REAUTH:
            raise ReauthRequired(f"{agent_id}: {_sentence(token.state_reason)}", reason=_word(token.state_reason))
        return token

    def _is_due(self, token: AgentAuthToken) -> bool:
        at = due_at(token, skew=self._skew_of(token))
        return at is not None and at <= self._clock()

    def _skew_of(self, token: AgentAuthToken) -> float:
        provider = self._providers.get(token.provider_id)
        return provider.expiry.skew if provider else 60.0

    def _has_ended(self, token: AgentAuthToken) -> bool:
        return token.expires_at is not None and token.expires_at <= self._clock()

    async def _outcome(self, user_id: str, agent_id: str) -> AgentAuthToken | GatewayError:
        try:
            return await self._renewed(user_id, agent_id)
        except GatewayError as exc:
            return exc

    async def _renewed(self, user_id: str, agent_id: str) -> AgentAuthToken:
        found = await wait_for(partial(self._look, user_id, agent_id), seconds=WAIT_SECONDS)
        if found is not None:
            return found
        token = await self._current(user_id, agent_id)
        return self._still(token, "another gateway has not renewed it in time", None)

    async def _look(self, user_id: str, agent_id: str) -> AgentAuthToken | None:
        """The credential, renewed if it is due; None while another gateway renews it, or if it has just changed."""
        token = await self._current(user_id, agent_id)
        if not self._is_due(token):
            return token
        provider = self._providers.get(token.provider_id)
        try:
            if provider is None or token.sealed_refresh_token is None:
                return await self._without_refresh(token)
            hold = await self._renewals.hold(token)
            if hold is not None:
                return await self._renew(token, provider, hold)
        except _Changed:
            return None
        wait = await self._renewals.wait_before(token)
        if wait is None:
            return None
        return self._still(token, "it did not answer when it was last asked", wait)

    async def _renew(self, token: AgentAuthToken, provider: Provider, hold: Hold) -> AgentAuthToken:
        answer: Granted | Waiting | Failure
        try:
            provider = await self._discovery.completed(provider)
            refresh_token = self._credentials.open_refresh_token(token)
            assert refresh_token is not None
        except GatewayError:
            await self._renewals.release(token, attempts=hold.attempts + 1, wait=backoff(hold.attempts, None))
            if self._has_ended(token):
                raise
            return token
        request = requests.refresh(provider, refresh_token=refresh_token, scopes=token.scopes)
        answer = token_answer(await self._edge.send(request), provider, now=self._clock(), secrets=request.secrets)
        match answer:
            case Granted():
                return await self._granted(token, provider, answer)
            case Refused(error=error) if error not in OPERATORS:
                await self._over(token, provider, hold, answer)
                raise await self._reauth(token)
            case _:
                return await self._postponed(token, provider, hold, answer)

    async def _granted(self, token: AgentAuthToken, provider: Provider, granted: Granted) -> AgentAuthToken:
        if granted.subject and token.subject and granted.subject != token.subject:
            await self._revocation.store_unused(provider, granted.access_token, granted.refresh_token)
            message = f"{provider.name} answered with the tokens of another account. Connect the account again."
            await self._mark(token, provider.id, ACCOUNT_CHANGED, message)
            raise await self._reauth(token)
        stored = await retry_until_stored(
            lambda: self._credentials.replace_tokens(
                token,
                granted.access_token,
                granted.refresh_token,
                granted.expires_at,
                granted.scopes,
                granted.refresh_expires_at,
            ),
            seconds=STORE_SECONDS,
        )
        current = await retry_until_stored(
            lambda: self._credentials.get_agent_auth_token(token.user_id, token.agent_id), seconds=STORE_SECONDS
        )
        if not stored and (current is None or self._credentials.open_access_token(current) != granted.access_token):
            # Taken away or replaced while the provider was asked: what it gave is nobody's.
            await self._revocation.store_unused(provider, granted.access_token, granted.refresh_token)
            await self._renewals.release(token)
            raise _Changed
        if current is None:
            raise _Changed
        await self._renewals.release(token)
        self._count("renewed")
        await self._tell_renewed(current)
        return current

    async def _tell_renewed(self, token: AgentAuthToken) -> None:
        expires_at = timestamp(token.expires_at) if token.expires_at else None
        told = CredentialRenewed(user_id=token.user_id, provider=token.provider_id, expires_at=expires_at)
        await self._news.tell(token.user_id, token.agent_id, told, key=f"credential:{token.agent_id}:{token.version}")
        for hook in self._hooks:
            self._tasks.start(hook(token.user_id, token.agent_id), name=f"renewed {token.agent_id}")

    async def _over(self, token: AgentAuthToken, provider: Provider, hold: Hold, refused: Refused) -> None:
        if hold.unanswered:
            message = (
                f"The answer to an earlier renewal at {provider.name} was lost on its way, and tokens are renewed "
                "only once there. Connect the account again."
            )
            await self._mark(token, provider.id, LOST, message)
        else:
            said = f" ({refused.description})" if refused.description else ""
            message = f"{provider.name} renews it no more: revoked, ended, or used elsewhere{said}. Connect it again."
            await self._mark(token, provider.id, REFUSED, message)

    async def _mark(self, token: AgentAuthToken, provider_id: str | None, reason: str, message: str) -> None:
        marked = await retry_until_stored(
            lambda: self._credentials.mark_needs_reauth(token, f"{reason}: {message}"), seconds=STORE_SECONDS
        )
        await self._renewals.release(token)
        if not marked:
            raise _Changed
        self._count(reason)
        told = CredentialNeedsReauth(user_id=token.user_id, provider=provider_id, reason=reason, message=message)
        key = f"credential:{token.agent_id}:{token.version}:needs_reauth"
        await self._news.tell(token.user_id, token.agent_id, told, key=key)

    async def _reauth(self, token: AgentAuthToken) -> GatewayError:
        try:
            await self._current(token.user_id, token.agent_id)
        except GatewayError as exc:
            return exc
        raise _Changed

    async def _postponed(
        self, token: AgentAuthToken, provider: Provider, hold: Hold, answer: Waiting | Failure
    ) -> AgentAuthToken:
        """A provider that decides nothing changes nothing: the token stays, and the next try comes later."""
        unanswered = isinstance(answer, Malformed) or (isinstance(answer, Unavailable) and answer.unanswered)
        wait = backoff(hold.attempts, answer.retry_after if isinstance(answer, Unavailable) else None)
        await self._renewals.release(token, attempts=hold.attempts + 1, wait=wait, unanswered=unanswered)
        reason = _reason(answer)
        self._count("postponed")
        logger.warning("credential not renewed", extra={"provider": provider.id, "reason": reason, "wait": round(wait)})
        return self._still(token, reason, wait)

    def _still(self, token: AgentAuthToken, reason: str, wait: float | None) -> AgentAuthToken:
        """The token as long as it holds; it is due ahead of its end."""
        if not self._has_ended(token):
            return token
        provider = self._providers.get(token.provider_id)
        name = provider.name if provider else token.provider_id
        raise ProviderUnavailable(
            f"Your account at {name} cannot be renewed right now: {reason}.",
            headers={"Retry-After": str(max(1, round(wait or 1)))},
        )

    async def _without_refresh(self, token: AgentAuthToken) -> AgentAuthToken:
        if not self._has_ended(token):
            return token
        await self._mark(token, token.provider_id, EXPIRED, "It has ended, and cannot be renewed. Connect it again.")
        raise await self._reauth(token)


def _reason(answer: Waiting | Failure) -> str:
    match answer:
        case Refused(error=error, description=description):
            return f"it refuses this gateway ({': '.join(filter(None, (error, description)))})"
        case Unavailable(reason=reason) | Malformed(reason=reason):
            return reason
        case _:
            return "it says to wait"


def _word(reason: str | None) -> str:
    return (reason or REFUSED).partition(": ")[0]


def _sentence(reason: str | None) -> str:
    return (reason or "").partition(": ")[2] or "Connect the account again."
