"""What all gateways on one database have in common, and no other gateway has."""

from gateway.db.pool import Database


async def pseudonym(database: Database) -> str:
    """A name for this database's gateways that tells nobody else anything (RFC 9110 7.6.3)."""
    row = await database.fetch_one("get_deployment")
    assert row is not None, "a migration makes it"
    return f"acp-gateway-{row['name']}"
