"""A standby that lacks the last commits takes over: an id means one event, and what can be read again is not lost."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.wire.events import Cursor
from gateway.wire.opencode import EVENT
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.numbered import NumberedContainer
from tests.fakes.opencode import FakeOpenCode
from tests.log.recording import begun, gaps, recorded, until_recorded, updates
from tests.log.witness import Client, epoch_of, has_updates, until_again
from tests.pair import Pair, pair
from tests.recording.listening import listening
from tests.recording.projects import register
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of, text_of


@pytest.fixture
def servers(open_directory: Path) -> Iterator[Pair]:
    with pair(open_directory) as made:
        yield made


async def _caught_up(servers: Pair) -> None:
    await asyncio.to_thread(servers.catch_up)


async def _cut(servers: Pair) -> None:
    await _caught_up(servers)
    await asyncio.to_thread(servers.cut)


async def _fail_over(servers: Pair) -> None:
    await asyncio.to_thread(servers.fail_over)


async def test_what_was_shown_and_is_lost_is_read_again_and_every_client_is_told(servers: Pair) -> None:
    async with (
        NumberedContainer() as container,
        GatewayProcess(servers.url, QUICK).run() as gateway,
        GatewayProcess(servers.url, QUICK).run() as other,
    ):
        project = await begun(gateway, container)
        elsewhere = Project(other, project.id)
        here, there, early, late = Client(), Client(), Client(), Client()
        async with here.watching(project), there.watching(elsewhere):
            container.emit(5)
            await until_recorded(gateway, 5)
            async with early.watching(project):
                await early.has(gateway)
            await _cut(servers)
            container.emit(10)
            await until_recorded(gateway, 15)
            await here.has(gateway)
            await there.has(gateway)
            async with late.watching(project):
                await late.has(gateway)
            await _fail_over(servers)
            # The container says nothing more: what is lost is read again all the same.
            await until_again(gateway, container)
            assert gaps(await recorded(gateway)) == []
            container.emit(3)
            await until_again(gateway, container)
            await here.has(gateway)
            await there.has(gateway)
        assert here.resets == there.resets == ["lost_in_failover"]
        for each in (gateway, other):
            for client, resets in ((early, []), (late, ["lost_in_failover"])):
                back = Client()
                back.cursor, back.shown = client.cursor, dict(client.shown)
                async with back.watching(Project(each, project.id)):
                    container.emit(1)
                    await until_again(gateway, container)
                    await back.has(each)
                assert back.resets == resets
        fresh = Client()
        async with fresh.watching(project):
            await fresh.has(gateway)
            assert len(fresh.shown) == len(await recorded(gateway))


async def test_where_nothing_is_lost_streams_go_on_without_a_reset_or_a_gap(
    servers: Pair, base_container: FakeContainer
) -> None:
    async with NumberedContainer() as container, GatewayProcess(servers.url, QUICK).run() as gateway:
        project = await begun(gateway, container)
        plain = await gateway.register(base_container.url, id="plain", defaultAgentId="demo")
        session = await plain.create_session()
        await plain.prompt(session, "say before")
        client = Client()
        async with client.watching(project):
            container.emit(5)
            await until_recorded(gateway, 5)
            await client.has(gateway)
            before = client.cursor
            await _caught_up(servers)
            await _fail_over(servers)
            container.emit(5)
            await until_again(gateway, container)
            await client.has(gateway)
        assert client.resets == []
        assert epoch_of(client.cursor) > epoch_of(before)
        assert gaps(await recorded(gateway)) == []

        async def prompt_is_taken() -> bool:
            answer = await plain.call("POST", f"/session/{session}/prompt", {"prompt": "say after"})
            return answer.status != 503

        await until(prompt_is_taken)
        events = await recorded(gateway, "plain")
        assert gaps(events) == []


async def test_in_the_midst_of_a_turn_no_id_stands_for_two_events(servers: Pair) -> None:
    async with NumberedContainer() as container, GatewayProcess(servers.url, QUICK).run() as gateway:
        project = await begun(gateway, container)
        clients = [Client() for _ in range(4)]

        async def speak() -> None:
            while True:
                container.emit(3)
                await asyncio.sleep(0.01)

        async with (
            clients[0].watching(project),
            clients[1].watching(project),
            clients[2].watching(project),
            clients[3].watching(project),
        ):
            speaking = asyncio.create_task(speak())
            await until_recorded(gateway, 30)
            await _cut(servers)
            # So much will be lost.
            await until_recorded(gateway, len(container.truth) + 30)
            await _fail_over(servers)
            await until(partial(has_updates, gateway, len(container.truth) + 30))
            speaking.cancel()
            await until_again(gateway, container)
            for client in clients:
                await client.has(gateway)
                assert client.resets == ["lost_in_failover"]
        assert gaps(await recorded(gateway)) == []


async def test_only_what_the_container_no_longer_has_is_a_gap(servers: Pair) -> None:
    async with NumberedContainer() as container, GatewayProcess(servers.url, QUICK).run() as gateway:
        await begun(gateway, container)
        container.emit(5)
        await until_recorded(gateway, 5)
        await _cut(servers)
        container.emit(10)
        await until_recorded(gateway, 15)
        container.journal[5:9] = [b""] * 4
        await _fail_over(servers)
        container.emit(1)
        await until(partial(has_updates, gateway, 12))
        events = await recorded(gateway)
        [gap] = gaps(events)
        assert (gap["reason"], gap["from"], gap["to"]) == ("skipped", 6, 9)
        assert updates(events) == [container.truth[number] for number in (*range(1, 6), *range(10, 17))]


async def test_what_opencode_said_and_is_lost_was_said_within_a_gap(servers: Pair) -> None:
    async with (
        FakeOpenCode() as opencode,
        FakeContainer() as container,
        GatewayProcess(servers.url, QUICK).run() as gateway,
    ):
        await register(gateway, opencode, container)
        async with listening(gateway) as listener:
            await eventually(lambda: opencode.listeners)
            opencode.tell(1, 1)
            await listener.until(opencode.said[-1])
            await _cut(servers)
            lost_at = datetime.now(UTC)
            opencode.tell(1, 2)
            await listener.until(opencode.said[-1])
            # Meanwhile the gateway notes that the stream is stored until now, more than once; that is lost, too.
            await asyncio.sleep(2)
            await _fail_over(servers)

            async def gap_is_told() -> bool:
                return bool(await _gaps_of_opencode(gateway))

            await until(gap_is_told)
        [(begins, ends)] = await _gaps_of_opencode(gateway)
        assert begins <= lost_at <= ends


async def test_turns_that_are_lost_are_taken_up_from_what_their_container_says(servers: Pair, agent_host: str) -> None:
    async with GatewayProcess(servers.url, QUICK).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        await project.prompt(session, "say before")
        await _cut(servers)
        over = (await project.prompt(session, "say lost"))["turnId"]
        prompt, key = {"prompt": "say begun\nslow 3\nsay over"}, {"Idempotency-Key": "once"}
        path = f"/session/{session}/prompt"
        runs = (await project.call("POST", path, prompt, headers=key)).json["turnId"]
        async with project.events(session, query="?from=start") as stream:
            while "begun" not in text_of([await stream.next()]):
                pass
        await _fail_over(servers)

        async def prompt_is_taken() -> bool:
            # 409: the turn before it is just being read again.
            return (await project.call("POST", path, prompt, headers=key)).status not in (409, 503)

        await until(prompt_is_taken)
        again = await project.call("POST", path, prompt, headers=key)
        assert again.status == 202, again.body
        assert again.json["turnId"] == runs
        assert await _ended(project, session, over) == "completed"
        assert await _ended(project, session, runs) == "completed"
        events = await project.all_events(session)
        assert [event.event for event in events if event.event in ("gap", "container_event")] == []
        assert text_of(events) == "beforelostbegundone\nover"
        started = [data_of(event) for event in events if event.event == "turn_started"]
        assert [told["prompt"][0]["text"] for told in started] == ["say before", "say lost", prompt["prompt"]]
        assert started[1]["startedBy"] is None


async def test_a_session_that_is_lost_is_ended_in_its_container(servers: Pair, agent_host: str) -> None:
    async with GatewayProcess(servers.url, QUICK).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        kept = await project.create_session()
        await _cut(servers)
        lost = await project.create_session()
        assert len(await _in_container(gateway, agent_host)) == 2
        await _fail_over(servers)

        async def one_is_left() -> bool:
            return len(await _in_container(gateway, agent_host)) == 1

        await until(one_is_left)
        [left] = await _in_container(gateway, agent_host)
        assert left.endswith(f"/demo/{kept}")
        assert (await project.call("GET", f"/session/{lost}")).status == 404
        await project.prompt(kept, "say still here")


async def _gaps_of_opencode(gateway: Gateway) -> list[tuple[datetime, datetime]]:
    """Since when and until when something may be missing."""
    log, log_id = gateway.app[LOG].store, LogId("demo", EVENT.name)
    with suppress(GatewayError):
        events = await log.read(log_id, Cursor((await log.head(log_id)).epoch, 0))
        values = [json.loads(event.data) for event in events]
        gaps = [value["properties"] for value in values if value["type"] == "gateway.gap"]
        return [(datetime.fromisoformat(gap["from"]), datetime.fromisoformat(gap["to"])) for gap in gaps]
    return []


async def _ended(project: Project, session: str, turn: str) -> str:
    async with asyncio.timeout(30):
        while True:
            answer = await project.call("GET", f"/session/{session}/turns/{turn}")
            if answer.status == 200 and answer.json["state"] != "running":
                state: str = answer.json["state"]
                return state
            await asyncio.sleep(0.1)


async def _in_container(gateway: Gateway, agent_host: str) -> list[str]:
    async with gateway.http.get(f"{agent_host}/sessions") as response:
        return [one["reference"] for one in (await response.json())["data"]["sessions"]]
