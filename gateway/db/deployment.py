"""What all gateways on one database share."""

from gateway.db.pool import Database


async def pseudonym(database: Database) -> str:
    """A pseudonym of this database's gateways (RFC 9110 7.6.3)."""
    row = await database.fetch_one("get_deployment")
    assert row is not None, "a migration makes it"
    return f"acp-gateway-{row['name']}"
