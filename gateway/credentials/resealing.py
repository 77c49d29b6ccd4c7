"""All that is stored under former keys, sealed again under the current one while gateways run.

Each row is replaced only if it is still as it was read, so that what is saved meanwhile wins, and each stands for
itself, so that a rotation that was killed goes on where it was.
"""

import logging
from collections.abc import AsyncIterator

import attrs

from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database, Row
from gateway.errors import SecretUnreadable, VaultKeyMissing

logger = logging.getLogger(__name__)

BATCH = 200
#: What gateways save under a former key while it happens is found by another look; more of them wait for the next run.
PASSES = 5


@attrs.frozen
class SealedTable:
    """A table with sealed secrets: ``queries.sql`` has ``list_sealed_…``, ``reseal_…`` and ``forget_…`` for it."""

    name: str
    fields: tuple[str, ...]
    #: Whether a row says which key has sealed it; else each of its secrets does.
    has_key_column: bool = True
    #: The table that its secrets are sealed to, where that is another.
    place: str = ""


TABLES = (
    SealedTable("agent_auth_tokens", ("access_token", "refresh_token")),
    SealedTable("projects", ("container_token",)),
    SealedTable("unrevoked_tokens", ("access_token", "refresh_token")),
    SealedTable("pending_logins", ("verifier", "code", "device_code"), has_key_column=False),
    SealedTable("given_secrets", ("access_token",), place="agent_auth_tokens"),
    SealedTable("withdrawals", ("container_token",), has_key_column=False, place="projects"),
)


@attrs.define
class Resealed:
    """What became of it."""

    rows: int = 0
    #: Rows that do not open, and stay as they are: table and id.
    unreadable: set[tuple[str, tuple[str, ...]]] = attrs.field(factory=set)
    #: Whether everything that opens is under the current key.
    complete: bool = False


async def reseal(database: Database, vault: Vault) -> Resealed:
    """Seal everything under the current key that is not."""
    done = Resealed()
    for _ in range(PASSES):
        found = False
        for table in TABLES:
            async for row in _former(database, vault, table):
                key = (table.name, tuple(row["id"]))
                if key in done.unreadable:
                    continue
                found = True
                try:
                    done.rows += await _reseal_row(database, vault, table, row)
                except (SecretUnreadable, VaultKeyMissing) as exc:
                    done.unreadable.add(key)
                    logger.warning("a stored secret does not open", extra={"row": "/".join(key[1]), "error": str(exc)})
        if not found:
            done.complete = True
            break
    return done


async def forget(database: Database, key_id: str) -> int:
    """Delete all that this key has sealed; how many rows that was."""
    return sum([await database.execute(f"forget_{table.name}", key_id=key_id) for table in TABLES])


async def _former(database: Database, vault: Vault, table: SealedTable) -> AsyncIterator[Row]:
    after = None
    while rows := await database.fetch_all(
        f"list_sealed_{table.name}", key_id=vault.current_key_id, after=after, limit=BATCH
    ):
        for row in rows:
            yield row
        after = rows[-1]["id"]


async def _reseal_row(database: Database, vault: Vault, table: SealedTable, row: Row) -> int:
    """1 where the row was still as it was read, else 0."""
    values: dict[str, object] = {"id": row["id"]}
    key_id = None
    for field in table.fields:
        former = row[field]
        values[f"former_{field}"] = former
        values[field] = None
        if former is not None:
            place = Place(table=table.place or table.name, row=tuple(row["place"]), field=field)
            sealed = vault.seal(vault.open(Sealed(former), place), place)
            values[field], key_id = sealed.ciphertext, sealed.key_id
    if table.has_key_column:
        values["key_id"] = key_id
    return await database.execute(f"reseal_{table.name}", **values)
