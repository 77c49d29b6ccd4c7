"""OpenCode is installed before the first test that wants it, outside of any test's time limit.

Where it cannot be had the tests are skipped, which the summary says loudly; with ``CI`` set they fail.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.opencode.install import NoOpenCode, cache_directory, opencode
from tests.opencode.places import Place, beside_the_agent_host

HERE = Path(__file__).parent
PROGRAM = pytest.StashKey[Path]()
MISSING = pytest.StashKey[str]()


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(opencode_program: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with beside_the_agent_host(opencode_program, tmp_path_factory.mktemp("opencode")) as place:
        yield place
