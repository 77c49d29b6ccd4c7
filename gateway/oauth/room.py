"""The room put together: what logs people in and keeps what they were given fresh, over one way out to providers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs

from gateway.config.schema import OAuthConfig
from gateway.credentials.store import Credentials
from gateway.credentials.vault import Vault
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.oauth.configured import Providers
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.logins import Logins
from gateway.oauth.news import News
from gateway.oauth.pending import PendingLogins
from gateway.oauth.poller import Poller
from gateway.oauth.refresh import Refresher
from gateway.oauth.revoke import Revocation
from gateway.oauth.unrevoked import UnrevokedTokens


@attrs.frozen(kw_only=True)
class Room:
    """``poller.run``, ``refresher.run`` and ``revocation.run`` are tasks of whoever opened it."""

    logins: Logins
    refresher: Refresher
    revocation: Revocation
    poller: Poller
    news: News


@asynccontextmanager
async def opened(
    database: Database,
    vault: Vault,
    credentials: Credentials,
    log: Log,
    providers: Providers,
    config: OAuthConfig,
    *,
    holder: str,
    count_refresh: Callable[[str], None],
) -> AsyncIterator[Room]:
    """``holder`` is unique for a process. On leaving, calls to providers under way are let come to their end."""
    async with Edge(timeout=config.timeout) as edge:
        discovery = Discovery(edge, allow_http_loopback=config.allow_http_loopback)
        news = News(database, log)
        unrevoked = UnrevokedTokens(database, vault)
        revocation = Revocation(edge, discovery, unrevoked, providers, timeout=config.timeout)
        pending = PendingLogins(database, vault)
        logins = Logins(pending, credentials, providers, discovery, edge, news, revocation)
        refresher = Refresher(
            database,
            credentials,
            providers,
            discovery,
            edge,
            news,
            revocation,
            holder=holder,
            timeout=config.timeout,
            count=count_refresh,
        )
        poller = Poller(logins, providers, discovery, edge, holder=holder, timeout=config.timeout)
        try:
            yield Room(logins=logins, refresher=refresher, revocation=revocation, poller=poller, news=news)
        finally:
            await poller.close()
            await refresher.close()
            await revocation.close()
