"""Seals everything under former keys again with the current one, while gateways run.

A row is replaced only if it is unchanged since it was read. Each row stands alone, so an interrupted rotation can be
continued.
"""

import logging
from collections.abc import AsyncIterator

import attrs

from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database, Row
from gateway.errors import SecretUnreadable, VaultKeyMissing

logger = logging.getLogger(__name__)

BATCH = 200
#: Each pass finds what gateways have sealed with a former key meanwhile.
PASSES = 5


@attrs.frozen
class SealedTable:
    """A table with sealed secrets: ``queries.sql`` has ``list_sealed_…``, ``reseal_…`` and ``forget_…`` for it."""

    name: str
    fields: tuple[str, ...]
    #: Whether a row has the key's id; otherwise each secret does.
    has_key_column: bool = True
    #: The table that its secrets are bound to, if it is another.
    place: str = ""


TABLES = (
    SealedTable("agent_auth_tokens", ("access_token", "refresh_token")),
    SealedTable("projects", ("container_token",)),
    SealedTable("opencode_passwords", ("opencode_password",), has_key_column=False, place="projects"),
    SealedTable("unrevoked_tokens", ("access_token", "refresh_token")),
    SealedTable("pending_logins", ("verifier", "code", "device_code"), has_key_column=False),
    SealedTable("given_secrets", ("access_token",), place="agent_auth_tokens"),
    SealedTable("withdrawals", ("container_token",), has_key_column=False, place="projects"),
)


@attrs.define
class Resealed:
    """The result of a rotation."""

    rows: int = 0
    #: Rows that do not open, and are left: table and id.
    unreadable: set[tuple[str, tuple[str, ...]]] = attrs.field(factory=set)
    #: Whether everything that opens is sealed with the current key.
    complete: bool = False


async def reseal(database: Database, vault: Vault) -> Resealed:
    """Seal everything with the current key."""
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
    """Delete everything that this key has sealed; returns the number of rows."""
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
    """1 if the row was unchanged, else 0."""
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
