"""Polls providers for device logins: one gateway per login."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from gateway.db.due import Driver
from gateway.db.every import every
from gateway.errors import GatewayError, ProviderMisconfigured
from gateway.oauth.configured import Providers
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.logins import Logins
from gateway.oauth.pending import Login
from gateway.oauth.protocol import openai_device, requests
from gateway.oauth.protocol.answers import openai_poll_answer, token_answer
from gateway.oauth.protocol.device import Polling, expired
from gateway.oauth.protocol.outcomes import CodeGranted, Failure, Granted, Waiting
from gateway.oauth.protocol.provider import OPENAI_DEVICE, Provider
from gateway.oauth.protocol.verdicts import verdict

LOOK_SECONDS, SWEEP_SECONDS = 1.0, 60.0
AT_ONCE = 20


class Poller:
    """Polls device logins. Its owner runs ``run``."""

    def __init__(
        self,
        logins: Logins,
        providers: Providers,
        discovery: Discovery,
        edge: Edge,
        *,
        holder: str,
        timeout: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._logins = logins
        self._providers = providers
        self._discovery = discovery
        self._edge = edge
        self._holder = holder
        self._timeout = timeout
        # Longer than one poll, so that no two gateways poll at the same time.
        self._lease_seconds = 2 * timeout + 10
        self._clock = clock
        self._driver = Driver()

    async def run(self) -> None:
        """Ask and ask again, until cancelled."""
        await self._driver.run({"login": self._review}, seconds=LOOK_SECONDS)

    async def sweep(self) -> None:
        """Expire unfinished logins and delete old ones, until cancelled."""
        await every(SWEEP_SECONDS, self._logins.pending.sweep, failed="old logins not deleted")

    async def close(self) -> None:
        """Let answers under way arrive: tokens are given once."""
        await self._driver.close(grace=self._timeout)

    async def _review(self) -> None:
        limit = self._driver.free(AT_ONCE)
        for login in await self._logins.pending.claim_due(self._holder, seconds=self._lease_seconds, limit=limit):
            self._driver.do(f"poll {login.id}", partial(self._brought_on, login))

    async def _brought_on(self, login: Login) -> None:
        provider = self._providers.get(login.provider_id)
        if provider is None:
            gone = ProviderMisconfigured(f"The provider {login.provider_id!r} is not configured any more.")
            await self._logins.fail(login, gone)
            return
        if login.expires_at <= login.now:
            await self._logins.fail(login, verdict(expired(), provider))
            return
        provider = await self._discovery.completed(provider)
        after = login.polling.after(await self._answer(login, provider), login.now)
        match after:
            case Polling():
                await self._logins.pending.postpone(login, after, self._holder)
            case Granted() | CodeGranted():
                await self._completed(login, provider, after)
            case _:
                await self._logins.fail(login, verdict(after, provider))

    async def _completed(self, login: Login, provider: Provider, granted: Granted | CodeGranted) -> None:
        try:
            if isinstance(granted, Granted):
                await self._logins.finish(login, granted, provider)
            else:
                await self._logins.exchange(
                    login,
                    provider,
                    code=granted.code,
                    verifier=granted.verifier,
                    redirect_uri=openai_device.redirect_uri(provider),
                )
        except GatewayError as exc:
            await self._logins.fail(login, exc)

    async def _answer(self, login: Login, provider: Provider) -> Granted | CodeGranted | Waiting | Failure:
        device_code = self._logins.pending.open_device_code(login)
        if login.flow == OPENAI_DEVICE:
            request = openai_device.poll(provider, device_code=device_code, user_code=login.user_code or "")
            return openai_poll_answer(await self._edge.send(request), secrets=request.secrets)
        request = requests.device_poll(provider, device_code=device_code)
        return token_answer(await self._edge.send(request), provider, now=self._clock(), secrets=request.secrets)
