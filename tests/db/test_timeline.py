"""What a process does with its connections once it finds that the database was failed over."""

from gateway.db.pool import Database
from tests.db.things import QUERIES, ask
from tests.fakes.eventually import eventually


def sessions_of(url: str) -> set[int]:
    asked = "select pid from pg_stat_activity where datname = current_database() and application_name = 'acp-gateway'"
    return {pid for (pid,) in ask(url, asked)}


async def test_connections_from_before_a_failover_are_not_used_again(things_url: str) -> None:
    """They may lead to the former primary, where that still takes writes."""
    async with await Database.open(things_url, size=2, queries=QUERIES) as database:
        await database.fetch_all("ids")
        before = sessions_of(things_url)
        ask(things_url, "update deployment set timeline = '0000000F'")
        async with database.dedicated(limit=5):
            pass
        await database.execute("put", id="after")
        await eventually(lambda: not before & sessions_of(things_url))
        assert len(sessions_of(things_url)) == 1
