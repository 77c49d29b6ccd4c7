"""A running ``acp-gateway up`` for the commands of people, and a project whose agent says what a prompt tells it to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Place
from tests.world import Gateway, Project


@pytest.fixture(scope="module")
def place(module_directory: Path) -> Iterator[Place]:
    """A running ``acp-gateway up``."""
    made = Place.make(module_directory / "terminal")
    with made.up():
        yield made


@pytest.fixture
async def scripted_project(gateway: Gateway, scripted_host: str) -> Project:
    return await gateway.register(scripted_host, defaultAgentId="scripted")
