"""Prepares the database and keys before gateway processes start."""

import asyncio
import logging
from pathlib import Path

from gateway.cli.places import data_dir
from gateway.cli.say import Say
from gateway.config.schema import Config
from gateway.credentials.checking import check_keys, used_keys
from gateway.credentials.keyring import FILE_NAME, KEYS_VARIABLE, Key, KeyRing, Keys, changing, write_file
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.pool import Database
from gateway.follow.lease import Leases
from gateway.projects.registration import register
from gateway.projects.store import Projects
from gateway.upkeep.presence import expire_gateways

logger = logging.getLogger(__name__)

SIDECAR_PROJECT = "default"


async def settle(
    config: Config, postgres: EmbeddedPostgres | None, say: Say, container: str | None = None, owner: str | None = None
) -> None:
    """Check the keys, register the sidecar's container, and release what dead gateways held.

    The embedded PostgreSQL has no other gateways, so all leases are free at once.
    """
    async with await Database.open(config.database.url, size=1) as database:
        if postgres is not None:
            await Leases(database, holder="", seconds=config.events.lease).expire_all()
            await expire_gateways(database)
        await _warn_of_log(database)
        await _make_first_key(config, database, say)
        keys = Keys.load(config.vault)
        await check_keys(database, keys)
        if keys.ring is None:
            say(
                "vault key     none: accounts and containers' secrets cannot be stored until vault.key_file names one "
                f"(made by acp-gateway key new), or {KEYS_VARIABLE} is set"
            )
        projects = Projects(database, config=config.containers)
        if container is not None:
            await register(projects, SIDECAR_PROJECT, container, owner=owner)
        await projects.settle_addresses()


async def _warn_of_log(database: Database) -> None:
    if statements := await database.log_advice():
        logger.warning(
            "PostgreSQL logs failed statements, which contain prompts; its administrator can prevent that: %s",
            statements,
        )


async def _make_first_key(config: Config, database: Database, say: Say) -> None:
    """Create a key in the data directory if none is configured, unless something is sealed with one that was lost."""
    if config.vault.key_file and not await used_keys(database):
        await asyncio.to_thread(_make_missing_key, config, say)


def _make_missing_key(config: Config, say: Say) -> None:
    file = Path(config.vault.key_file)
    if not file.exists() and file == data_dir(config) / FILE_NAME:
        with changing(file):
            write_file(file, KeyRing([Key.make()]))
        say(f"vault key     {file} (new: keep a copy, without it stored tokens are lost)")
