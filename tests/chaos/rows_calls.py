"""Rows 27 and 28: prompts whose gateway dies, and permissions that are answered while their container is away."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import aiohttp

from tests.chaos.processes import GatewayServer, until
from tests.chaos.proxy import ChaosProxy
from tests.chaos.scenario import ACP, World, row
from tests.chaos.working import WorkingContainer

RETRY_SECONDS = 30.0


@row(27, "kill -9 between a prompt's arrival and its answer, retried with its key")
async def kill_at_a_prompt(world: World) -> None:
    container = world.container = WorkingContainer(knows_turns=world.rng.random() < 0.5)
    await world.begin(gateways=2, clients=10, rate=50, turns_lost_after="3")
    ends: dict[str, int] = {}
    for number in range(2 if world.short else 8):
        text = f"prompt {number} of {world.rng.randrange(10**9)}"
        victim = world.rng.choice(world.gateways)
        at_container = world.rng.random() < 0.5
        container.arrived.clear()
        if at_container:
            container.answering.clear()
        first = asyncio.create_task(_prompt(victim, world.session_id, text))
        if at_container:
            await until(container.arrived.is_set, 30, "the prompt is at the container")
        else:
            await world.pause(0.0, 0.06)
        where = "at the container, not answered" if at_container else "somewhere on its way"
        world.fault(f"kill -9 of the gateway while a prompt is {where}")
        victim.kill()
        with suppress(aiohttp.ClientError):
            await first
        container.answering.set()
        other = next(gateway for gateway in world.gateways if gateway is not victim)
        told = await _until_taken(other, world.session_id, text)
        again = await _until_taken(other, world.session_id, text)
        world.expect(again == told, f"one key was answered {told} and {again}")
        state = await _end_of(world, other, told["turnId"])
        ends[state] = ends.get(state, 0) + 1
        begun = container.begun[text]
        # What may have been sent is not sent again to a container that would run it again: the turn is lost then.
        never_came = not begun and not at_container and not container.knows_turns and state == "lost"
        world.expect(begun == 1 or never_came, f"the container began {text} {begun} times, and its turn is {state}")
        await world.start_again(victim)
    kind = "knows a prompt by its turn's id" if container.knows_turns else "does not know prompts by their turns"
    world.note(f"{len(container.begun)} prompts to a container that {kind}, none begun twice; their ends: {ends}")


async def _prompt(gateway: GatewayServer, session_id: str, text: str) -> tuple[int, Any]:
    headers = {"Idempotency-Key": text.replace(" ", "-")}
    url = f"{gateway.url}{ACP}/session/{session_id}/prompt"
    async with aiohttp.ClientSession() as http, http.post(url, json={"prompt": text}, headers=headers) as response:
        return response.status, await response.json()


async def _until_taken(gateway: GatewayServer, session_id: str, text: str) -> Any:
    """Send the call again as its client would, for as long as it is told to come later."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        status, body = await _prompt(gateway, session_id, text)
        if status == 202:
            return body
        assert status in (409, 503), f"the retry is answered {status}: {body}"
        assert time.monotonic() < deadline, f"the retry is still answered {status}: {body}"
        await asyncio.sleep(0.1)


async def _end_of(world: World, gateway: GatewayServer, turn_id: str) -> str:
    url = f"{gateway.url}{ACP}/session/{world.session_id}/turns/{turn_id}"
    deadline = time.monotonic() + RETRY_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            async with http.get(url) as response:
                turn = await response.json()
                assert response.status == 200, turn
                if turn["state"] != "running":
                    return str(turn["state"])
            await asyncio.sleep(0.05)
    world.expect(False, f"a turn did not end: {turn}")
    return "none"


@row(28, "a permission answered while the container is unreachable")
async def answer_while_away(world: World) -> None:
    container = world.container = WorkingContainer()
    await container.start()
    world.stack.push_async_callback(container.stop)
    world.database_url = await asyncio.to_thread(world.postgres.create_database)
    way = ChaosProxy(("127.0.0.1", container.port), random.Random(world.rng.random()))
    await way.start()
    world.stack.push_async_callback(way.stop)
    await world.add_gateways(2)
    await world.register(way.port)
    await world.add_clients(10)
    container.emit_at(50)
    for number in range(2 if world.short else 6):
        request_id = f"request-{number}"
        container.ask(request_id)
        permission = await _waiting(world)
        world.fault("the container cannot be reached while a permission is answered")
        await way.stop()
        option = world.rng.choice(["yes", "no"])
        asked = world.rng.choice(world.gateways)
        status, answered = await _answer(asked, permission, option)
        world.expect(status in (200, 202), f"the answer is answered {status}: {answered}")
        if world.rng.random() < 0.5:
            world.fault("kill -9 of the gateway that has the answer")
            asked.kill()
            await world.start_again(asked)
        status, told = await _answer(world.rng.choice(world.gateways), permission, "yes")
        world.expect(status == 409, f"a second answer is answered {status}: {told}")
        await world.pause(0.0, 1.0)
        await way.start()
        back = time.monotonic()
        await until(lambda: container.answers[request_id], 30, "the answer comes to the container")  # noqa: B023
        world.note(f"delivered {time.monotonic() - back:.2f} s after the container was back")
        world.expect(container.chosen[request_id] == option, "the container got another answer")
    await world.pause(1.5, 2.0)
    world.expect(set(container.answers.values()) == {1}, f"answers came more than once: {container.answers}")


async def _waiting(world: World) -> str:
    """The id of the one permission request that waits."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = (await world.call("GET", f"{ACP}/permission"))["permissions"]
        if waiting := [one["id"] for one in listed if one["state"] == "waiting"]:
            return str(waiting[0])
        await asyncio.sleep(0.05)
    raise AssertionError("no permission request came within 30 s")


async def _answer(gateway: GatewayServer, permission: str, option: str) -> tuple[int, Any]:
    url = f"{gateway.url}{ACP}/permission/{permission}"
    async with aiohttp.ClientSession() as http, http.post(url, json={"optionId": option}) as response:
        return response.status, await response.json()
