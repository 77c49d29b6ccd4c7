"""Rows 41 to 43: a standby takes over, with and without the last commits."""

import asyncio
import time
from collections.abc import Callable

from tests.chaos.clients import Began
from tests.chaos.scenario import World, row
from tests.pair import Pair

#: From the promotion to the first new event.
GOAL_SECONDS = 2.0


async def _begin(world: World, **settings: str) -> Pair:
    pair = await asyncio.to_thread(Pair, world.directory / "pair", settings)
    world.stack.callback(pair.stop)
    world.database_url = pair.url
    await world.begin(gateways=2, clients=20, rate=100)
    await world.following()
    return pair


async def _fail_over(world: World, what: str, work: Callable[[], None]) -> None:
    world.fault(what)
    await asyncio.to_thread(work)
    promoted = time.monotonic()
    took = await world.next_event(promoted)
    world.note(f"first new event {took:.2f} s after the standby was promoted")
    world.within(took, GOAL_SECONDS, "the first event came after the promotion")
    await world.pause(0.5, 1.5)


def _resets(world: World) -> int:
    return sum(isinstance(one, Began) and one.is_reset for client in world.clients for one in client.record)


@row(41, "asynchronous failover that loses commits, in the midst of a turn")
async def lose_commits(world: World) -> None:
    pair = await _begin(world)
    await asyncio.to_thread(pair.cut)
    cut = len(world.container.truth.events)
    await world.delivered(cut + (50 if world.short else 500))
    await _fail_over(world, "the primary ends, and the standby lacks its last commits", pair.fail_over)
    resets = _resets(world)
    world.expect(resets == len(world.clients), f"{resets} resets of {len(world.clients)} clients")
    world.note(f"{resets} of {len(world.clients)} clients were told to begin anew")


@row(42, "failover with synchronous replication")
async def lose_nothing(world: World) -> None:
    pair = await _begin(world, synchronous_standby_names="second")
    await world.pause(0.5, 1.5)
    await _fail_over(world, "the primary ends at once", pair.fail_over)
    world.expect(_resets(world) == 0, f"{_resets(world)} clients were told to begin anew, although nothing was lost")


@row(43, "switchover with asynchronous replication")
async def switch_over(world: World) -> None:
    pair = await _begin(world)
    await world.pause(0.5, 1.5)
    await _fail_over(world, "the primary is stopped, and the standby promoted", pair.switch_over)
    world.expect(_resets(world) == 0, f"{_resets(world)} clients were told to begin anew, although nothing was lost")
