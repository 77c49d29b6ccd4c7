"""Opens the configured or embedded database, migrated."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from gateway.cli.places import data_dir
from gateway.cli.say import Say
from gateway.config.schema import Config
from gateway.credentials.keyring import FILE_NAME
from gateway.db.embedded import EmbeddedPostgres, is_data_dir, url_of_running
from gateway.db.migrate import migrate
from gateway.db.pool import Database
from gateway.errors import ConfigError, StartError
from gateway.log.store import Log

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_database(
    config: Config, say: Say, *, names_migrations: bool = False
) -> AsyncIterator[tuple[Config, EmbeddedPostgres | None]]:
    """Start the embedded database unless another is configured, migrate it, and yield the complete configuration."""
    server = None
    if config.database.direct_url and not config.database.url:
        raise ConfigError(
            "database.direct_url is set and database.url is not: it leads past a pooler to the same database"
        )
    if not config.database.url:
        directory = data_dir(config)
        server = await asyncio.to_thread(EmbeddedPostgres.start, directory)
        say(f"PostgreSQL    {directory} (log: {directory / 'postgres.log'})")
        config = attrs.evolve(config, database=attrs.evolve(config.database, url=server.url))
        config = with_keys_beside_data(config)
    else:
        say("PostgreSQL    as set by database.url")
    try:
        applied = await asyncio.to_thread(migrate, config.database.direct_url or config.database.url)
        for name in applied:
            logger.debug("migration applied", extra={"migration": name})
        done = ", ".join(applied) if names_migrations else f"{len(applied)} applied"
        say(f"migrations    {done if applied else 'up to date'}")
        yield config, server
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


@asynccontextmanager
async def reach_database(config: Config) -> AsyncIterator[Database]:
    """The database for a short command, with or without a running gateway."""
    if not config.database.url:
        directory = data_dir(config)
        if not is_data_dir(directory):
            raise StartError(
                f"There is no database in {directory}: set the gateway's with --config FILE or --data-dir DIR, or "
                "start the gateway once"
            )
        running = await asyncio.to_thread(url_of_running, directory)
        config = attrs.evolve(config, database=attrs.evolve(config.database, url=running or ""))
    async with (
        open_database(config, lambda _: None) as (found, _),
        await Database.open(found.database.url, size=2) as database,
    ):
        yield database


def with_keys_beside_data(config: Config) -> Config:
    """The configuration with the vault's keys in the data directory, unless it sets another place."""
    if config.vault.key_file or config.vault.keys:
        return config
    file = data_dir(config) / FILE_NAME
    return attrs.evolve(config, vault=attrs.evolve(config.vault, key_file=str(file)))


async def migrate_database(config: Config, say: Say, *, restored: bool) -> None:
    """Migrate the database; ``restored``: it was restored from a backup."""
    async with open_database(config, say, names_migrations=True) as (found, _):
        if restored:
            async with await Database.open(found.database.url, size=1) as database:
                await Log(database).begin_epochs()
            say("restored      reconnecting clients are told to start anew")
