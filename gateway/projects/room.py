"""Opens projects, their limits, and the HTTP client for their containers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.config.reload import Settings
from gateway.credentials.vault import Vault
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.projects.addresses import Addresses, address_policy
from gateway.projects.limits import Limits
from gateway.projects.store import Projects
from gateway.proxy.client import Client
from gateway.telemetry.room import Telemetry
from gateway.telemetry.upstreams import Upstreams


@attrs.frozen(kw_only=True)
class ProjectsRoom:
    store: Projects
    limits: Limits
    #: Connects only to addresses in ``containers.allow``.
    client: Client


PROJECTS = web.AppKey("projects", ProjectsRoom)


@asynccontextmanager
async def open_projects(
    database: Database, log: Log, vault: Vault, settings: Settings, telemetry: Telemetry, via: str
) -> AsyncIterator[ProjectsRoom]:
    """``via`` is the gateway's pseudonym in ``Via``. Raises ``ConfigError``."""
    config = settings.config.containers
    addresses = Addresses(database, shared=config.shared)
    observer = Upstreams(telemetry.metrics, telemetry.tracing)
    async with Client(address_policy(config), guard=addresses.guard, observer=observer, via=via) as client:
        settings.on_change(lambda changed: client.allow(address_policy(changed.containers)))
        yield ProjectsRoom(
            store=Projects(database, vault, config, addresses, log),
            limits=Limits(settings, database, telemetry.metrics),
            client=client,
        )
