"""What only this process knows is stored once the database is back, or given up after the time that was named."""

import pytest

from gateway.db.errors import OutcomeUnknown, QueryTimeout, StatementFailed
from gateway.db.retry import retry_until_stored
from gateway.errors import DatabaseUnavailable, GatewayError, NotFound


class Store:
    """Fails as told, then succeeds."""

    def __init__(self, *failures: GatewayError) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "stored"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.db.retry.FIRST_PAUSE_SECONDS", 0)


async def test_it_is_tried_again_while_the_database_is_away() -> None:
    store = Store(DatabaseUnavailable(), QueryTimeout(), OutcomeUnknown())
    assert await retry_until_stored(store) == "stored"
    assert store.calls == 4


@pytest.mark.parametrize("failure", [NotFound(), StatementFailed("42P01")])
async def test_what_will_not_go_better_is_raised_at_once(failure: GatewayError) -> None:
    store = Store(failure)
    with pytest.raises(type(failure)):
        await retry_until_stored(store)
    assert store.calls == 1


async def test_it_is_given_up_after_its_time_with_the_last_error() -> None:
    store = Store(*(DatabaseUnavailable() for _ in range(1000)))
    with pytest.raises(DatabaseUnavailable):
        await retry_until_stored(store, seconds=0)
    assert store.calls == 1
