"""OpenCode is installed before the first test that wants it, outside of any test's time limit.

Where it cannot be had the tests are skipped, which the summary says loudly; with ``CI`` set they fail.
"""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import administer, with_database
from tests.opencode.install import NoOpenCode, cache_directory, opencode
from tests.opencode.places import Place, before_the_gateway, beside_the_agent_host

HERE = Path(__file__).parent
PROGRAM = pytest.StashKey[Path]()
MISSING = pytest.StashKey[str]()
_NUMBERS = count(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    if config.option.collectonly or not any(item.path.is_relative_to(HERE) for item in session.items):
        return
    try:
        config.stash[PROGRAM] = opencode(cache_directory(os.environ))
    except NoOpenCode as exc:
        config.stash[MISSING] = str(exc)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if (reason := config.stash.get(MISSING, None)) is not None:
        terminalreporter.section("NO REAL AGENT WAS TESTED", sep="!", yellow=True, bold=True)
        terminalreporter.line(f"The tests in tests/opencode need OpenCode: {reason}.", yellow=True)


@pytest.fixture(scope="session")
def opencode_program(request: pytest.FixtureRequest) -> Path:
    """The program of a real OpenCode."""
    if (reason := request.config.stash.get(MISSING, None)) is None:
        return request.config.stash[PROGRAM]
    if os.environ.get("CI"):
        pytest.fail(f"CI must test a real OpenCode: {reason}")
    pytest.skip(f"no OpenCode: {reason}")


@pytest.fixture(scope="module")
def module_database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The URL of a migrated, empty database for one module's tests."""
    name = f"acp_gateway_opencode_{os.getpid()}_{next(_NUMBERS)}"
    administer(server_url, "create database {} template {}", name, template_database)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["agent host", "gateway"])
async def place(
    request: pytest.FixtureRequest,
    opencode_program: Path,
    module_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Place]:
    """A real OpenCode and a door to it, for all tests of a module."""
    root = tmp_path_factory.mktemp("opencode")
    if request.param == "gateway":
        opened = before_the_gateway(opencode_program, root, module_database_url)
    else:
        opened = beside_the_agent_host(opencode_program, root)
    async with opened as place:
        yield place
