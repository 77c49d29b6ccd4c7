"""A few rows of the chaos suite, short, with a seed of their own each time. ``make chaos`` runs all."""

import random
from collections.abc import Iterator

import pytest

from tests.chaos import rows
from tests.chaos.processes import Postgres
from tests.chaos.scenario import ROWS, play

rows.load()
SELECTED = (1, 2, 6, 12, 26, 28)
#: Goals of time are for ``make chaos``: here other tests may run beside.
PATIENCE = 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.mark.parametrize("number", [number for number in SELECTED if number in ROWS])
async def test_row_of_the_fault_matrix(number: int, postgres: Postgres) -> None:
    seed = random.SystemRandom().randrange(10**6)
    outcome = await play(ROWS[number], seed, postgres, short=True, patience=PATIENCE)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    again = f"python -m tests.chaos --short --row {number} --seed {seed}"
    assert outcome.verdict.wrong == [], again
    assert outcome.verdict.delivered > 100
