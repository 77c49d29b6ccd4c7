"""``acp-gateway events`` where there is no gateway, or none for a while: it says so."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.clients.unruly import unruly
from tests.program import Place, command
from tests.terminal.person import environ, script
from tests.world import Gateway, Project


@pytest.fixture
async def demo(gateway: Gateway, agent_host: str) -> Project:
    return await gateway.register(agent_host, defaultAgentId="demo")


def test_events_without_a_gateway_are_one_sentence_and_the_status_of_what_cannot_be_done(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    nowhere = Place(directory=tmp_path, port=unused_tcp_port, container_port=0)
    done = script(nowhere, "events", "demo")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"acp-gateway: No gateway answers at {nowhere.url}")


async def test_events_say_when_the_gateway_goes_away_and_go_on_when_it_is_back(demo: Project, tmp_path: Path) -> None:
    session = await demo.create_session()
    async with unruly(demo.gateway.url) as front:
        place = Place(directory=tmp_path, port=int(front.url.rpartition(":")[2]), container_port=0)
        process = await asyncio.create_subprocess_exec(
            *command(), "events", "demo", "--from-start", "--json", stdout=PIPE, stderr=PIPE, env=environ(place)
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(60):
                types = [json.loads(await process.stdout.readline())["type"]]
                front.is_away = True
                assert b"the gateway is unreachable" in await process.stderr.readline()
                await demo.prompt(session, "say hello")
                front.is_away = False
                assert await process.stderr.readline() == b"the gateway is back\n"
                while types[-1] != "turn_ended":
                    types.append(json.loads(await process.stdout.readline())["type"])
        finally:
            process.kill()
            await process.communicate()
