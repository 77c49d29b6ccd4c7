import asyncio
from collections.abc import Iterator

import attrs
import pytest

from gateway.proxy.limits import Limits


@attrs.define(eq=False)
class Waiting:
    over: asyncio.Event = attrs.field(factory=asyncio.Event)

    def expire(self) -> None:
        assert not self.over.is_set()
        self.over.set()


@pytest.fixture
def limits() -> Iterator[Limits]:
    limits = Limits()
    yield limits
    limits.close()


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def over(*waits: Waiting) -> None:
    async with asyncio.timeout(5):
        for waiting in waits:
            await waiting.over.wait()


async def test_each_expires_at_its_own_end(limits: Limits) -> None:
    late, early, past = Waiting(), Waiting(), Waiting()
    limits.set(late, soon(0.2))
    limits.set(early, soon(0.05))
    limits.set(past, soon(-1))
    await over(past)
    assert not early.over.is_set()
    await over(early)
    assert not late.over.is_set()
    await over(late)


async def test_an_end_that_is_put_off_or_taken_back_does_not_come(limits: Limits) -> None:
    moved, removed, last = Waiting(), Waiting(), Waiting()
    for waiting in (moved, removed):
        limits.set(waiting, soon(0.05))
    limits.set(last, soon(0.2))
    limits.set(moved, soon(0.3))
    limits.set(removed, None)
    await over(last)
    assert not moved.over.is_set()
    await over(moved)
    assert not removed.over.is_set()


async def test_an_end_may_be_set_while_another_comes(limits: Limits) -> None:
    class Again(Waiting):
        def expire(self) -> None:
            super().expire()
            limits.set(following, soon(0.05))

    first, following = Again(), Waiting()
    limits.set(first, soon(0.05))
    await over(first, following)
