"""OpenCode is installed before the first test that wants it; where it cannot be had: see ``tests.machine``."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import administer, with_database
from tests.machine import cache_directory, found, look_for
from tests.opencode.install import opencode
from tests.opencode.places import Place, before_the_gateway, beside_the_agent_host

HERE = Path(__file__).parent
OPENCODE = "a real OpenCode"
_NUMBERS = count(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(item.path.is_relative_to(HERE) for item in session.items):
        look_for(session.config, OPENCODE, lambda: opencode(cache_directory(os.environ)))


@pytest.fixture(scope="session")
def opencode_program(request: pytest.FixtureRequest) -> Path:
    """The program of a real OpenCode."""
    program: Path = found(request, OPENCODE)
    return program


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
