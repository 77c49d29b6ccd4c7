"""Work that is done again and again goes on, whatever happens in it."""

import asyncio

import pytest

from gateway.db.every import every
from gateway.errors import DatabaseUnavailable, UpstreamError
from tests.fakes.eventually import eventually


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (UpstreamError("it is gone"), ["WARNING"]),
        (DatabaseUnavailable("it is away"), []),
        (RuntimeError("a fault"), ["ERROR"]),
    ],
    ids=["expected", "database", "fault"],
)
async def test_work_that_fails_is_done_again_and_its_failure_is_logged(
    error: Exception, level: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    async def work() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise error

    task = asyncio.create_task(every(0.01, work, failed="work failed"))
    await eventually(lambda: len(calls) >= 3)
    task.cancel()
    await asyncio.wait((task,))
    said = [record.levelname for record in caplog.records if record.message == "work failed"]
    assert [one for one in said if one != "DEBUG"] == level
    assert task.cancelled()


async def test_a_wake_up_is_not_waited_for_in_vain() -> None:
    woken, done = asyncio.Event(), []

    async def work() -> None:
        done.append(1)

    task = asyncio.create_task(every(3600, work, failed="failed", woken=woken))
    await eventually(lambda: len(done) == 1)
    woken.set()
    await eventually(lambda: len(done) == 2)
    # Once for each.
    assert not woken.is_set()
    task.cancel()
    await asyncio.wait((task,))
