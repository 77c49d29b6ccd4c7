"""Checks at each start that the keys are those that this database was sealed with.

A key is recognised by a constant that it sealed when it was first used. Otherwise another key under the same id would
be noticed only when a user's token does not open.
"""

from gateway.credentials.keyring import Key, Keys
from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database
from gateway.errors import ConfigError

_CHECK = b"acp-gateway"


async def check_keys(database: Database, keys: Keys) -> None:
    """``ConfigError`` that names a key that is missing or has changed."""
    ring = keys.ring
    if missing := await missing_keys(database, keys):
        raise ConfigError(
            f"{_source(keys)}: the key {_listed(missing)} is missing, and secrets in the database are sealed with it; "
            "put it back. Without it they are lost: if it cannot be found, "
            f'"acp-gateway key forget {missing[0]}" deletes them, and users connect their accounts again'
        )
    if ring is not None:
        await know_keys(database, keys, list(ring))


async def know_keys(database: Database, keys: Keys, ring: list[Key]) -> None:
    """Register these keys in the database; ``ConfigError`` if one has changed."""
    vault = Vault(keys)
    known = await _known(database)
    new = [key for key in ring if key.id not in known]
    for key in new:
        sealed = vault.seal_with(key, _CHECK, _place(key.id))
        await database.execute("insert_vault_key", key_id=key.id, sealed_check=sealed.ciphertext)
    if new:
        known = await _known(database)  # another gateway may have been first, with another key
    wrong = [key.id for key in ring if not vault.opens_with(key, Sealed(known[key.id]), _place(key.id))]
    if wrong:
        raise ConfigError(
            f"{_source(keys)}: the key {_listed(wrong)} is not the one that this database knows under that id; "
            "put the right one there, or give the other an id of its own"
        )


async def missing_keys(database: Database, keys: Keys) -> list[str]:
    """The ids of keys that the database needs and this gateway lacks."""
    ring = keys.ring
    return [key_id for key_id in await used_keys(database) if ring is None or ring.get(key_id) is None]


async def used_keys(database: Database) -> dict[str, int]:
    """The ids of keys in use, with the number of rows that each has sealed."""
    return {row["key_id"]: row["rows"] for row in await database.fetch_all("count_sealed")}


async def _known(database: Database) -> dict[str, bytes]:
    return {row["key_id"]: row["sealed_check"] for row in await database.fetch_all("list_vault_keys")}


def _place(key_id: str) -> Place:
    return Place(table="vault_keys", row=(key_id,), field="check")


def _listed(key_ids: list[str]) -> str:
    return ", ".join(map(repr, key_ids))


def _source(keys: Keys) -> str:
    return f"vault.key_file: {keys.file}" if keys.file else "vault.keys"
