"""A running ``acp-gateway up`` for the commands of people, and a project whose agent says what a prompt tells it to."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

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
async def scripted_project(gateway: Gateway, scripted_host: str) -> Project:
    return await gateway.register(scripted_host, defaultAgentId="scripted")
