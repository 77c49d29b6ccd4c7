"""Opens the vault with its keys, the credentials, and the known secrets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from aiohttp import web

from gateway.config.schema import Config
from gateway.credentials import catalogue
from gateway.credentials.checking import check_keys
from gateway.credentials.keyring import Keys
from gateway.credentials.known import KnownSecrets
from gateway.credentials.store import Credentials
from gateway.credentials.vault import Vault
from gateway.db.pool import Database
from gateway.tasks import running


@attrs.frozen(kw_only=True)
class CredentialsRoom:
    keys: Keys
    vault: Vault
    store: Credentials
    known: KnownSecrets


CREDENTIALS = web.AppKey("credentials", CredentialsRoom)


@asynccontextmanager
async def open_credentials(database: Database, config: Config, gateway_id: str) -> AsyncIterator[CredentialsRoom]:
    """Raises ``ConfigError``, and ``StartError`` if a key that was used is missing."""
    keys = Keys.load(config.vault)
    await check_keys(database, keys)
    vault = Vault(keys)
    own = config.credentials.catalogue
    store = Credentials(database, vault, catalogue.load(Path(own)) if own else None)
    known = KnownSecrets(database, store, gateway_id=gateway_id)
    works = {"know what containers were given": known.keep_up(), "forget former secrets": known.forget()}
    async with running(works):
        yield CredentialsRoom(keys=keys, vault=vault, store=store, known=known)
