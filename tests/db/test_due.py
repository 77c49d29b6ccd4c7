"""The loop that brings things to their ends: one step of each at a time, whatever fails."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.db.due import Driver, Review
from gateway.errors import DatabaseUnavailable, GatewayError, NotFound, UpstreamTimeout
from tests.fakes.eventually import eventually


@asynccontextmanager
async def running(driver: Driver, **reviews: Review) -> AsyncIterator[None]:
    task = asyncio.create_task(driver.run(reviews))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await driver.close()


async def test_of_one_thing_one_step_is_taken_at_a_time() -> None:
    driver, may_end, taken = Driver(), asyncio.Event(), []

    async def step() -> None:
        taken.append(1)
        await may_end.wait()

    for _ in range(3):
        driver.do("turn 1", step)
    driver.do("turn 2", step)
    await asyncio.sleep(0)
    assert len(taken) == 2
    assert driver.is_doing("turn 1")
    may_end.set()
    await eventually(lambda: not driver.is_doing("turn 1"))
    driver.do("turn 1", step)
    await asyncio.sleep(0)
    assert len(taken) == 3
    await driver.close()


@pytest.mark.parametrize("failure", [UpstreamTimeout(), DatabaseUnavailable(), NotFound(), ZeroDivisionError()])
async def test_a_step_that_fails_can_be_taken_again(failure: Exception) -> None:
    driver, taken = Driver(), asyncio.Event()

    async def fail() -> None:
        raise failure

    async def step() -> None:
        taken.set()

    driver.do("turn 1", fail)
    await eventually(lambda: not driver.is_doing("turn 1"))
    driver.do("turn 1", step)
    async with asyncio.timeout(5):
        await taken.wait()
    await driver.close()


@pytest.mark.parametrize("failure", [GatewayError("no"), ZeroDivisionError()])
async def test_a_review_that_fails_is_logged_and_keeps_no_other_from_its_work(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    seen = asyncio.Event()

    async def fails() -> float:
        raise failure

    async def sees() -> None:
        seen.set()

    with caplog.at_level(logging.WARNING):
        async with running(Driver(), turn=fails, permission=sees), asyncio.timeout(5):
            await seen.wait()
    assert "turn maintenance failed" in caplog.messages
    assert "permission maintenance failed" not in caplog.messages


async def test_what_is_due_soon_is_not_left_until_the_next_second() -> None:
    """The second review comes at once: a whole second would let this time out."""
    reviews: asyncio.Queue[None] = asyncio.Queue()

    async def review() -> float:
        reviews.put_nowait(None)
        return 0.0

    async with running(Driver(), turn=review), asyncio.timeout(0.9):
        for _ in range(3):
            await reviews.get()
