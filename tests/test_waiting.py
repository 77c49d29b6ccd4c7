"""`wait_for` finds what it waits for soon, and waits no longer than it is told to."""

import asyncio
import time

import pytest

from gateway.tasks import wait_for


class Door:
    """Opens with the look of this number."""

    def __init__(self, opens: float) -> None:
        self.opens = opens
        self.looks = 0

    async def look(self) -> int | None:
        self.looks += 1
        return self.looks if self.looks >= self.opens else None


@pytest.mark.parametrize("seconds", [0, 5])
async def test_what_is_there_is_not_waited_for(seconds: float) -> None:
    assert await wait_for(Door(1).look, seconds=seconds, wake=None) == 1  # type: ignore[arg-type]


async def test_it_is_looked_for_until_it_is_there() -> None:
    assert await wait_for(Door(4).look, seconds=60) == 4


async def test_what_was_seen_last_is_the_answer_once_the_time_is_over() -> None:
    door, began = Door(float("inf")), time.monotonic()

    async def look() -> tuple[str, int | None]:
        return "seen", await door.look()

    assert await wait_for(look, seconds=0.1, until=lambda seen: seen[1]) == ("seen", None)
    assert time.monotonic() - began >= 0.1
    assert door.looks >= 2


async def test_a_wake_up_ends_a_pause() -> None:
    door, woken = Door(3), []

    async def wake(pause: float) -> None:
        woken.append(pause)

    assert await wait_for(door.look, seconds=60, wake=wake) == 3
    # The longer somebody waits the less often they look.
    assert len(woken) == 2
    assert woken[0] < woken[1]


async def test_a_wake_up_that_never_comes_is_not_waited_for_beyond_the_time() -> None:
    async def wake(_: float) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        assert await wait_for(Door(float("inf")).look, seconds=0.05, wake=wake) is None


async def test_who_cannot_look_is_told_so() -> None:
    async def look() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wait_for(look, seconds=60)
