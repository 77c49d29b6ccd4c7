"""The agents are installed before the first test that wants one; see ``install`` for which, and ``tests.machine``."""

import os
from functools import partial
from pathlib import Path

import pytest

from tests.machine import found, look_for
from tests.realagents.install import ALL, chosen, path_of

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(item.path.is_relative_to(HERE) for item in session.items):
        return
    for agent in chosen(os.environ):
        look_for(session.config, f"a real {agent}", partial(path_of, agent))


@pytest.fixture
def agent_path(request: pytest.FixtureRequest, row: "object") -> str:
    """A PATH with the program of the agent that the row is about."""
    agent = row.agent  # type: ignore[attr-defined]
    assert agent in ALL
    if agent not in chosen(os.environ):
        pytest.skip(f"{agent} is large; ACP_GATEWAY_TEST_AGENTS=all tries it")
    path: str = found(request, f"a real {agent}")
    return path
