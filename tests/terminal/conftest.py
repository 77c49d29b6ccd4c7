"""A running ``acp-gateway up`` for the commands of people."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.program import Place

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def place(open_directory: Path) -> Iterator[Place]:
    """A running ``acp-gateway up``."""
    made = Place.make(open_directory / f"terminal-{next(_NUMBERS)}")
    with made.up():
        yield made
