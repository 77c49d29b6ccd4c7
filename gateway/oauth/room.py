"""Opens logins and renewals, with one HTTP client for providers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.config.reload import Settings
from gateway.credentials.room import CredentialsRoom
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.oauth.configured import Providers, configured
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.logins import Logins
from gateway.oauth.news import News
from gateway.oauth.pending import PendingLogins
from gateway.oauth.poller import Poller
from gateway.oauth.refresh import Refresher
from gateway.oauth.revoke import Revocation
from gateway.oauth.unrevoked import UnrevokedTokens
from gateway.tasks import running
from gateway.telemetry.metrics import Metrics


@attrs.frozen(kw_only=True)
class OAuthRoom:
    providers: Providers
    logins: Logins
    refresher: Refresher
    revocation: Revocation
    news: News


OAUTH = web.AppKey("oauth", OAuthRoom)


@asynccontextmanager
async def open_oauth(
    database: Database,
    credentials: CredentialsRoom,
    log: Log,
    settings: Settings,
    metrics: Metrics,
    gateway_id: str,
) -> AsyncIterator[OAuthRoom]:
    """On exit, open calls to providers are awaited. Raises ``ConfigError``."""
    config = settings.config.oauth
    providers = configured(settings.config.providers, config)
    settings.on_change(lambda changed: providers.change(configured(changed.providers, changed.oauth)))
    async with Edge(timeout=config.timeout) as edge:
        discovery = Discovery(edge, allow_http_loopback=config.allow_http_loopback)
        news = News(database, log)
        unrevoked = UnrevokedTokens(database, credentials.vault)
        revocation = Revocation(edge, discovery, unrevoked, providers, timeout=config.timeout)
        pending = PendingLogins(database, credentials.vault)
        logins = Logins(pending, credentials.store, providers, discovery, edge, news, revocation)
        refresher = Refresher(
            database,
            credentials.store,
            providers,
            discovery,
            edge,
            news,
            revocation,
            holder=gateway_id,
            timeout=config.timeout,
            count=metrics.credential_refreshed,
        )
        poller = Poller(logins, providers, discovery, edge, holder=gateway_id, timeout=config.timeout)
        works = {
            "poll providers": poller.run(),
            "sweep logins": poller.sweep(),
            "renew credentials": refresher.run(),
            "revoke tokens again": revocation.run(),
        }
        try:
            async with running(works):
                yield OAuthRoom(
                    providers=providers, logins=logins, refresher=refresher, revocation=revocation, news=news
                )
        finally:
            await poller.close()
            await refresher.close()
            await revocation.close()
