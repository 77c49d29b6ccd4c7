"""Credentials on a database of the test's own, with a key of its own."""

import pytest

from gateway.credentials.keyring import Key, KeyRing, Keys
from gateway.credentials.store import Credentials
from gateway.credentials.vault import Vault
from gateway.db.pool import Database


@pytest.fixture
def vault() -> Vault:
    return Vault(Keys(ring=KeyRing([Key.make()])))


@pytest.fixture
def credentials(database: Database, vault: Vault) -> Credentials:
    return Credentials(database, vault)
