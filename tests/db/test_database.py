"""Database over a real PostgreSQL."""

from gateway.db.pool import Database


async def test_queries(database: Database) -> None:
    assert await database.fetch_one("get_project", id="x", owner_id="y") is None
