"""Telling a provider that tokens are over. Here they are forgotten whatever it answers.

They are stored before the provider is told, and deleted after it has answered. So no gateway that dies forgets them.
"""

import logging
from functools import partial

import attrs

from gateway.db.availability import log_failure
from gateway.db.due import Driver
from gateway.db.pool import Transaction
from gateway.errors import GatewayError
from gateway.oauth.configured import Providers
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.protocol import requests
from gateway.oauth.protocol.answers import revocation_answer
from gateway.oauth.protocol.outcomes import Failure, Refused, Unavailable
from gateway.oauth.protocol.provider import GITHUB, Provider
from gateway.oauth.unrevoked import Unrevoked, UnrevokedTokens

logger = logging.getLogger(__name__)

#: How often revocations are retried, and how many at once.
LOOK_SECONDS, AT_ONCE = 2.0, 10
REVOKED, RETRYING, REFUSED, UNSUPPORTED = "revoked", "retrying", "refused", "unsupported"


@attrs.frozen(kw_only=True)
class Revoked:
    """The result of a revocation. ``outcome``: revoked, retrying, refused, or unsupported by the provider."""

    outcome: str
    message: str


class Revocation:
    """Revokes tokens. A failed revocation is retried a few times by any gateway.

    Its owner runs ``run``.
    """

    def __init__(
        self, edge: Edge, discovery: Discovery, unrevoked: UnrevokedTokens, providers: Providers, *, timeout: float
    ) -> None:
        self._edge = edge
        self._discovery = discovery
        self._unrevoked = unrevoked
        self._providers = providers
        self._timeout = timeout
        self._driver = Driver()

    async def store(
        self, provider_id: str, access_token: str, refresh_token: str | None, *, within: Transaction | None = None
    ) -> Unrevoked:
        """Tokens that are to be revoked, by ``revoke`` now; a while later by any gateway if this one dies first."""
        return await self._unrevoked.add(provider_id, access_token, refresh_token, within=within)

    async def store_unused(self, provider: Provider, access_token: str, refresh_token: str | None) -> None:
        """Tokens that nobody will ever use: they are revoked in the background."""
        try:
            await self._unrevoked.add(provider.id, access_token, refresh_token, is_due=True)
        except GatewayError as exc:
            logger.warning("tokens not revoked, nor kept to be", extra={"provider": provider.id, "error": str(exc)})

    async def revoke(self, provider: Provider, tokens: Unrevoked) -> Revoked:
        """Revoke what was just stored. The refresh token goes first: with it a provider ends all that was granted."""
        try:
            provider = await self._discovery.completed(provider)
        except GatewayError as exc:
            return await self._later(provider, tokens, str(exc))
        if not _can_be_told(provider):
            await self._unrevoked.forget(tokens)
            where = f"take it away there if you want it gone: {provider.name} has no call for it"
            return Revoked(outcome=UNSUPPORTED, message=f"Forgotten here; {where}, or none that this gateway may use.")
        failure = await self._tell(provider, tokens)
        if isinstance(failure, Unavailable):
            return await self._later(provider, tokens, failure.reason)
        await self._unrevoked.forget(tokens)
        if failure is None:
            return Revoked(outcome=REVOKED, message=f"Forgotten here, and over at {provider.name}.")
        said = failure.error if isinstance(failure, Refused) else failure.reason
        message = f"Forgotten here. {provider.name} did not take it back ({said}); do that there."
        return Revoked(outcome=REFUSED, message=message)

    async def run(self) -> None:
        """Tell providers again, until cancelled."""
        await self._driver.run({"revocation": self._review}, seconds=LOOK_SECONDS)

    async def close(self) -> None:
        """Let what is under way come to its end."""
        await self._driver.close(grace=self._timeout)

    async def _tell(self, provider: Provider, tokens: Unrevoked) -> Failure | None:
        access_token, refresh_token = self._unrevoked.opened(tokens)
        hinted = [(refresh_token, "refresh_token")] if refresh_token and provider.bodies.revoke != GITHUB else []
        failures = []
        for token, hint in (*hinted, (access_token, "access_token")):
            request = requests.revoke(provider, token=token, hint=hint)
            failure = revocation_answer(await self._edge.send(request), secrets=request.secrets)
            if isinstance(failure, Unavailable):
                return failure
            failures.append(failure)
        # With the refresh token everything ends; some providers cannot revoke access tokens.
        return failures[0]

    async def _later(self, provider: Provider, tokens: Unrevoked, reason: str) -> Revoked:
        await self._unrevoked.postpone(tokens)
        message = f"Forgotten here. {provider.name} could not be told ({reason}) and is told again in a while."
        return Revoked(outcome=RETRYING, message=message)

    async def _review(self) -> None:
        for tokens in await self._unrevoked.claim_due(self._driver.free(AT_ONCE)):
            self._driver.do(f"revoke {tokens.id}", partial(self._tell_again, tokens))

    async def _tell_again(self, tokens: Unrevoked) -> None:
        is_over = tokens.tries_left >= 0 and await self._is_over(tokens)
        if not is_over and tokens.tries_left > 0:
            await self._unrevoked.postpone(tokens)
            return
        await self._unrevoked.forget(tokens)
        if not is_over:
            _give_up(tokens.provider_id)

    async def _is_over(self, tokens: Unrevoked) -> bool:
        """Whether nothing more is to be done: it is revoked, refused, or its provider is no longer configured."""
        provider = self._providers.get(tokens.provider_id)
        if provider is None:
            _give_up(tokens.provider_id)
            return True
        try:
            provider = await self._discovery.completed(provider)
            if not _can_be_told(provider):
                return True
            failure = await self._tell(provider, tokens)
        except GatewayError as exc:
            log_failure(logger, "tokens not revoked yet", exc, provider=tokens.provider_id)
            return False
        return not isinstance(failure, Unavailable)


def _can_be_told(provider: Provider) -> bool:
    return bool(provider.revoke_url) and (provider.bodies.revoke != GITHUB or bool(provider.client_secret))


def _give_up(provider_id: str) -> None:
    logger.warning("tokens not revoked: their provider was told in vain", extra={"provider": provider_id})
