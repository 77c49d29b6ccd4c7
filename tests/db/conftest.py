"""Databases with a table of the tests' own, and both kinds of event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.pool import Database
from tests import postgres
from tests.conftest import administer, with_database
from tests.db.things import QUERIES, SCHEMA, ask

_NUMBERS = count(1)
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on each kind of loop; nothing that a loop complains of passes."""
    complaints: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=request.param) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        yield runner.run
    assert not complaints


@pytest.fixture
def things_url(database_url: str) -> str:
    """A database with the table of ``things``."""
    ask(database_url, SCHEMA)
    return database_url


@pytest.fixture
async def things(things_url: str) -> AsyncIterator[Database]:
    """That database, opened with two connections."""
    async with await Database.open(things_url, size=2, queries=QUERIES) as opened:
        yield opened


@pytest.fixture(scope="session")
def debian(session_directory: Path, postgres_programs: Path) -> Iterator[EmbeddedPostgres]:
    """A server as people run it, with the role ``plain``, which has no privileges."""
    server = postgres.start(session_directory / "debian", postgres_programs, log_min_error_statement="error")
    ask(server.url, "create role plain login; revoke create on schema public from public")
    yield server
    server.stop()


@pytest.fixture
def debian_url(debian: EmbeddedPostgres) -> Iterator[str]:
    """An empty database there."""
    name = f"debian_{next(_NUMBERS)}"
    administer(debian.url, "create database {}", name)
    yield with_database(debian.url, name)
    administer(debian.url, "drop database {} with (force)", name)


@pytest.fixture(scope="session")
def guarded_url(session_directory: Path) -> Iterator[str]:
    """A server that asks ``guest`` for a password, which is ``secret``."""
    rules = session_directory / "guarded.conf"
    rules.write_text("local all postgres peer map=owner\nlocal all guest scram-sha-256\n")
    rules.chmod(0o644)
    server = EmbeddedPostgres.start(session_directory / "guarded", settings={"hba_file": str(rules), "fsync": "off"})
    ask(server.url, "create role guest login password 'secret'")
    yield server.url
    server.stop()
