"""What must be before any gateway process starts."""

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
    """Keys, the sidecar's project; and nobody holds what dead ones held.

    A PostgreSQL of our own has no other user: what a gateway that was killed held is free at once.
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
            "PostgreSQL's log gets the text of statements that fail, and prompts in it; its administrator can run: %s",
            statements,
        )


async def _make_first_key(config: Config, database: Database, say: Say) -> None:
    """A key in the data directory, where none is configured and nothing is sealed yet: a lost one is not replaced."""
    if config.vault.key_file and not await used_keys(database):
        await asyncio.to_thread(_make_missing_key, config, say)


def _make_missing_key(config: Config, say: Say) -> None:
    file = Path(config.vault.key_file)
    if not file.exists() and file == data_dir(config) / FILE_NAME:
        with changing(file):
            write_file(file, KeyRing([Key.make()]))
        say(f"vault key     {file} (made just now: keep a copy of it, without it stored tokens are lost)")
