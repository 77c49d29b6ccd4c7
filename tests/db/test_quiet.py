"""What of a statement gets into PostgreSQL's own log, on our server and on one that others run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.pool import Database
from gateway.errors import GatewayError
from tests.conftest import administer, with_database
from tests.db.things import QUERIES, SCHEMA, ask

SAID = "what a user said to an agent"


@pytest.fixture(scope="module")
def loud(module_directory: Path) -> Iterator[tuple[str, Path]]:
    """A server that logs as PostgreSQL does unless told otherwise, with a role of no privileges, and its log."""
    rules = module_directory / "loud.conf"
    rules.write_text("local all postgres peer map=owner\nlocal all plain trust\n")
    rules.chmod(0o644)
    settings = {
        "hba_file": str(rules),
        "fsync": "off",
        "log_min_messages": "warning",
        "log_min_error_statement": "error",
        "log_error_verbosity": "default",
        "log_parameter_max_length": "-1",
    }
    server = EmbeddedPostgres.start(module_directory / "loud", settings=settings)
    ask(server.url, "create role plain login")
    administer(server.url, "create database {}", "things")
    url = with_database(server.url, "things")
    ask(url, SCHEMA + "grant all on owners, things to plain;")
    yield url, module_directory / "loud" / "postgres.log"
    server.stop()


async def fail(database: Database) -> None:
    """A failure of each kind that quotes what it was given."""
    await database.execute("put", id=SAID)
    for query, params in (
        ("put", {"id": SAID}),
        ("put_of", {"id": "x", "owner": SAID}),
        ("as_json", {"text": SAID}),
        ("refuse", {"reason": SAID}),
    ):
        with pytest.raises(GatewayError):
            await database.execute(query, **params)
    await database.execute("take_all")


def plain(url: str) -> str:
    return url.replace("postgres@", "plain@")


async def test_a_role_that_may_keeps_its_statements_out_of_the_log(loud: tuple[str, Path]) -> None:
    url, log = loud
    before = log.stat().st_size
    async with await Database.open(url, size=1, queries=QUERIES) as database:
        await fail(database)
        assert await database.log_advice() is None
    text = log.read_text()[before:]
    assert "STATEMENT" not in text
    assert "DETAIL" not in text
    assert text.count(SAID) == 1, "only what our own function raised, which says what it says"


async def test_a_role_that_may_not_is_told_what_its_administrator_can_run_and_then_it_is_quiet(
    loud: tuple[str, Path],
) -> None:
    url, log = loud
    async with await Database.open(plain(url), size=2, queries=QUERIES) as database:
        await fail(database)
        statements = await database.log_advice()
    assert SAID in log.read_text()  # it is what the advice is about
    assert statements is not None
    assert "ALTER ROLE plain SET log_min_error_statement = panic;" in statements
    ask(url, statements + "select 1")
    before = log.stat().st_size
    async with await Database.open(plain(url), size=1, queries=QUERIES) as database:
        assert await database.log_advice() is None
        await fail(database)
    text = log.read_text()[before:]
    assert "DETAIL" not in text
    assert text.count(SAID) == 1
    ask(url, "alter role plain reset all; select 1")


async def test_the_embedded_server_is_quiet_for_whoever_connects(open_directory: Path) -> None:
    server = EmbeddedPostgres.start(open_directory / "quiet", settings={"fsync": "off"})
    try:
        with pytest.raises(Exception, match="zero"):
            ask(server.url, f"select 1 / 0, '{SAID}'")
        assert SAID not in (open_directory / "quiet" / "postgres.log").read_text()
    finally:
        server.stop()
