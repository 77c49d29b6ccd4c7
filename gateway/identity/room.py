"""Opens the identity room: authentication, members, the audit."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.config.reload import Settings
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.identity.access_monitor import AccessMonitor
from gateway.identity.audit import Audit
from gateway.identity.identify import Identity, configured
from gateway.identity.members import Members
from gateway.identity.proxy import Proxies
from gateway.identity.scrapers import Scrapers
from gateway.identity.sign_ins import SignIns
from gateway.identity.sites import Sites
from gateway.identity.stream_tickets import StreamTickets
from gateway.identity.throttle import Throttle
from gateway.tasks import running


@attrs.frozen(kw_only=True)
class IdentityRoom:
    identity: Identity
    members: Members
    stream_tickets: StreamTickets
    sign_ins: SignIns
    audit: Audit
    access_monitor: AccessMonitor
    throttle: Throttle
    proxies: Proxies
    sites: Sites
    scrapers: Scrapers

    def change(self, config: Config) -> None:
        self.sites.change(config.identity.allowed_hosts, config.identity.allowed_origins)
        self.scrapers.change(config.metrics)


IDENTITY = web.AppKey("identity", IdentityRoom)


@asynccontextmanager
async def open_identity(
    database: Database,
    settings: Settings,
    on_throttled: Callable[[], None],
    on_members_changed: Callable[[], None],
) -> AsyncIterator[IdentityRoom]:
    """The callbacks must not block. On exit, queued audit entries are written."""
    config = settings.config
    proxies, throttle = Proxies(config.identity.proxy_addresses), Throttle(on_refused=on_throttled)
    access_monitor, audit = AccessMonitor(database), Audit(database, days=config.identity.audit_days)

    def members_changed() -> None:
        on_members_changed()
        access_monitor.look_now()

    room = IdentityRoom(
        identity=configured(config.identity, database, throttle, proxies),
        members=Members(database, on_changed=members_changed),
        stream_tickets=StreamTickets(database, config.identity.modes),
        sign_ins=SignIns(database),
        audit=audit,
        access_monitor=access_monitor,
        throttle=throttle,
        proxies=proxies,
        sites=Sites(
            config.identity.allowed_hosts,
            config.identity.allowed_origins,
            project_hosts=config.server.project_hosts,
            public_url=config.server.public_url,
        ),
        scrapers=Scrapers(config.metrics, proxies),
    )
    settings.on_change(room.change)
    try:
        async with running(
            {
                "write audit": audit.run(),
                "delete old audit entries": audit.sweep(),
                "watch access": access_monitor.run(),
                "sweep stream tickets": room.stream_tickets.sweep(),
            }
        ):
            yield room
    finally:
        await audit.close()
