"""Rows 11 to 16: the container's stream is cut, silent, begins anew, repeats, skips, and says what nobody should."""

import asyncio
import json
import time
from typing import Any

from tests.chaos.processes import query, until
from tests.chaos.scenario import PROJECT, World, row
from tests.chaos.trouble import TroubledContainer

SILENCE = 1.5
REPEATED, SKIPPED = 5000, 37


@row(11, "container stream cut at every byte offset of a frame", slow=True)
async def cut_at_every_byte(world: World) -> None:
    container = await _begin(world, rate=0)
    step = 16 if world.short else 1
    cut = await _cut_at(world, container, range(world.rng.randrange(step), 10_000, step))
    world.note(f"events with ids: cut at {cut} offsets of a frame of some 250 bytes")
    # And one that numbers nothing: what is cut is lost, and a gap says so.
    container.numbered, opened = False, container.opened
    container.restart()
    await _followed_anew(container, opened)
    cut = await _cut_at(world, container, range(world.rng.randrange(8), 10_000, 4 * step + 4))
    world.note(f"events without ids: cut at {cut} offsets")
    container.emit(3)


async def _cut_at(world: World, container: TroubledContainer, offsets: range) -> int:
    """Cut one event at each of these offsets, in any order, to its end; how many."""
    cut, size = 0, offsets.stop
    for offset in offsets:
        if offset > size:
            break
        world.fault(f"the container's stream is cut at byte {offset} of a frame")
        opened = container.opened
        size = container.emit_cut(offset, ends_well=world.rng.random() < 0.5)
        await _followed_anew(container, opened)
        cut += 1
    return cut


@row(12, "container silent with the connection open")
async def fall_silent(world: World) -> None:
    container = await _begin(world, rate=100, numbered=world.some_kind(), events_container_silence=str(SILENCE))
    # One without ids may be silent for twice as long: its heartbeats come half as often.
    limit = SILENCE if container.numbered else 2 * SILENCE
    for _ in range(1 if world.short else 3):
        await world.pause(0.3, 1.0)
        await world.following()
        dead = set(container.peers())
        world.fault("the container falls silent, its connection stays open")
        container.fall_silent()
        silent = time.monotonic()
        await until(lambda: not dead & set(container.peers()), 30, "the dead connection is given up")  # noqa: B023
        took = time.monotonic() - silent
        world.note(f"found dead after {took:.2f} s; the limit is {limit:g} s")
        world.within(took, limit + 0.5, "a silent container was found dead")
        await world.next_event(time.monotonic())


@row(13, "container restarts with ids from 1")
async def restart_the_container(world: World) -> None:
    container = await _begin(world, rate=200)
    for _ in range(2 if world.short else 6):
        await world.pause(0.2, 1.0)
        world.fault("the container restarts and numbers from 1")
        container.restart()
        if world.rng.random() < 0.3:
            victim = await world.following()
            world.fault("kill -9 of the follower")
            victim.kill()
            await world.start_again(victim)
        await world.next_event(time.monotonic())


@row(14, "container replays 5,000 events again")
async def repeat(world: World) -> None:
    container = await _begin(world, rate=100)
    container.emit(REPEATED)
    await world.delivered(len(container.truth.events))
    container.tells_again = REPEATED
    for _ in range(1 if world.short else 3):
        before = await _count(world)
        world.fault(f"the container tells {REPEATED} events again")
        container.cut_streams()
        await world.next_event(time.monotonic())
        world.note(f"{await _count(world) - before} events more in the log, after {REPEATED} were told again")


@row(15, "container skips 37")
async def skip(world: World) -> None:
    container = await _begin(world, rate=200)
    times = 2 if world.short else 5
    for _ in range(times):
        await world.pause(0.1, 0.5)
        world.fault(f"the container skips {SKIPPED} numbers")
        container.skip(SKIPPED)
        if world.rng.random() < 0.3:
            world.fault("its stream is cut there")
            container.cut_streams()
        await world.next_event(time.monotonic())
    gaps = [gap for gap in await gaps_of(world) if gap["to"] is not None and gap["to"] - gap["from"] + 1 == SKIPPED]
    world.expect(len(gaps) == times, f"{len(gaps)} of {times} gaps say {SKIPPED}: {await gaps_of(world)}")


async def _begin(world: World, *, rate: float, numbered: bool = True, **settings: str) -> TroubledContainer:
    world.container = container = TroubledContainer(numbered=numbered)
    await world.begin(gateways=2, clients=20, rate=rate, numbered=numbered, **settings)
    await world.following()
    return container


async def _followed_anew(container: TroubledContainer, opened: int) -> None:
    """Wait until the container has been asked for its stream more often than so."""
    await until(lambda: container.opened > opened, 30, "somebody follows the container again")


async def _count(world: World) -> int:
    [(count,)] = await asyncio.to_thread(query, world.database_url, "select count(*) from events")
    return int(count)


async def gaps_of(world: World) -> list[dict[str, Any]]:
    """What the log says is missing."""
    rows = await asyncio.to_thread(
        query,
        world.database_url,
        "select payload from events where project_id = %s and type = 'gap' order by seq",
        PROJECT,
    )
    return [json.loads(bytes(payload)) for (payload,) in rows]
