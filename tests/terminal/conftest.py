"""A running ``acp-gateway up`` for the commands of people, and a project whose agent says what a prompt tells it to."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.serving import bind, serving
from tests.agenthost.hosts import scripted
from tests.program import Place
from tests.world import Gateway, Project

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def place(open_directory: Path) -> Iterator[Place]:
    """A running ``acp-gateway up``."""
    made = Place.make(open_directory / f"terminal-{next(_NUMBERS)}")
    with made.up():
        yield made


@pytest.fixture
async def scripted_project(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Project]:
    """A project whose agent does, word for word, what a prompt tells it to."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    catalogue = {"scripted": scripted()}
    app = build_app(AgentHostConfig(workspace=workspace, environment=dict(os.environ), catalogue=catalogue))
    sock = bind("127.0.0.1", 0, purpose="the test's agent host", option="")
    async with serving(app, sock, shutdown_timeout=2):
        yield await gateway.register(f"http://127.0.0.1:{sock.getsockname()[1]}", defaultAgentId="scripted")
